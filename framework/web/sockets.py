"""WebSockets under WSGI: taken from the server once they are open, and served by one thread, however many they are.

A WSGI server has a thread for each request, and a socket is a request that lasts for hours: eight visitors who wait
would be all that a server with eight threads has room for. So the request ends, and its connection stays.
"""

import os
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from celery.utils.log import get_logger
from h11 import LocalProtocolError
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Message,
    Ping,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import ProtocolError

from framework.errors import NoSocket
from framework.web.core import BEAT, LIFETIME, UNKNOWN_AFTER, LiveStates, as_json, shown

__all__ = ["Hub", "Opening"]


log = get_logger(__name__)

#: Seconds between looks at sockets on which nothing happens.
LOOK = 1.0

#: Seconds that a visitor's side may take to read what was sent, or to end what it was told is over.
PATIENCE = 20.0


class Opening:
    """A request for a socket, understood and not answered yet.

    Args:
        environ: the request, as WSGI has it.

    Raises:
        NoSocket: it is no such request, or this server hands nothing over.
    """

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self.protocol = WSConnection(ConnectionType.SERVER)
        headers = [
            (name[5:].replace("_", "-").encode("latin-1"), str(value).encode("latin-1"))
            for name, value in environ.items()
            if name.startswith("HTTP_")
        ]
        try:
            self.protocol.initiate_upgrade_connection(headers, "/")
            self.answer = self.protocol.send(AcceptConnection())
        except (ProtocolError, LocalProtocolError) as exc:
            raise NoSocket.for_request(exc) from exc
        found = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
        if not isinstance(found, socket.socket) or isinstance(found, ssl.SSLSocket):
            raise NoSocket.under(environ.get("SERVER_SOFTWARE") or "This server")
        self._socket = found

    def take(self) -> tuple[socket.socket, socket.socket]:
        """The connection, which the server has no longer.

        The server holds the end of a pipe instead, under the same number: it writes its answer there, and may close
        it. The other end comes second, and is to be closed when the request ends.
        """
        ours = self._socket.dup()
        theirs, far_end = socket.socketpair()
        with theirs:
            os.dup2(theirs.fileno(), self._socket.fileno(), inheritable=False)
        return ours, far_end


class Hub:
    """All sockets of a process, in one thread that begins with the first.

    Args:
        live: where states come from.
        most: how many sockets there may be.
    """

    def __init__(self, live: LiveStates, most: int = 1000) -> None:
        self._live = live
        self._most = most
        self._lock = threading.Lock()
        self._pid = 0

    def __len__(self) -> int:
        return len(self._sockets) if self._pid == os.getpid() else 0

    def adopt(self, opening: Opening, task_id: str) -> socket.socket:
        """Serve a socket from now on; what is to be closed when its request ends.

        Raises:
            NoSocket: there are as many as there may be.
        """
        with self._lock:
            if self._pid != os.getpid():  # a thread does not come along into a fork
                self._start()
            if len(self._sockets) >= self._most:
                raise NoSocket.above(self._most)
            connection, far_end = opening.take()
            served = Socket(connection, opening.protocol, task_id)
            self._sockets.add(served)
        served.put(opening.answer)
        self._news(served)
        return far_end

    def _start(self) -> None:
        self._pid = os.getpid()
        self._sockets: set[Socket] = set()
        self._ringing: set[Socket] = set()
        self._bell, self._button = socket.socketpair()
        self._bell.setblocking(False)
        self._button.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._bell, selectors.EVENT_READ)
        threading.Thread(target=self._work, name="task sockets", daemon=True).start()

    def _news(self, served: "Socket") -> None:
        self._ringing.add(served)
        with suppress(OSError):  # full, so the bell rings already
            self._button.send(b"!")

    def _work(self) -> None:
        next_look = 0.0
        while True:
            for key, _ in self._selector.select(LOOK):
                if key.data is None:
                    self._silence()
                else:
                    self._serve(key.data, key.data.receive)
            while self._ringing:
                self._serve(self._ringing.pop(), lambda: None)
            if (now := time.monotonic()) >= next_look:
                next_look = now + LOOK
                for served in list(self._sockets):
                    if served.registered:
                        self._serve(served, partial(served.look_after, now))

    def _silence(self) -> None:
        with suppress(BlockingIOError):
            while self._bell.recv(4096):
                pass

    def _serve(self, served: "Socket", do: Any) -> None:
        if served not in self._sockets:
            return
        try:
            if not served.registered:
                self._begin(served)
            do()
            served.tell()
            served.flush()
            self._selector.modify(served.connection, served.waits_for, served)
            over = served.over
        except (OSError, ProtocolError):
            over = True
        except Exception:
            log.exception("The socket of somebody who watches task %s", served.task_id)
            over = True
        if over:
            self._end(served)

    def _begin(self, served: "Socket") -> None:
        served.connection.setblocking(False)
        self._selector.register(served.connection, selectors.EVENT_READ, served)
        served.registered = True
        served.newest = self._live.watch(served.task_id, partial(self._news, served))

    def _end(self, served: "Socket") -> None:
        if served.newest is not None:
            served.newest.close()
        with suppress(KeyError, ValueError):
            self._selector.unregister(served.connection)
        served.connection.close()
        self._sockets.discard(served)


class Socket:
    """One visitor's socket: what is to be sent, and since when it has been waited for."""

    def __init__(self, connection: socket.socket, protocol: WSConnection, task_id: str) -> None:
        self.connection = connection
        self.task_id = task_id
        self.newest: Any = None
        self.registered = False
        self._protocol = protocol
        self._out = bytearray()
        self._began = self._progressed = self._beat = time.monotonic()
        self._heard = True
        self._told = False
        self._closing = False
        self._closed = False

    @property
    def over(self) -> bool:
        """Whether both sides have said so, and all was sent."""
        return self._closed and not self._out

    @property
    def waits_for(self) -> int:
        """What the selector is to look for."""
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)

    def put(self, data: bytes) -> None:
        """Send it, as soon as the other side reads."""
        if not self._out:
            self._progressed = time.monotonic()
        self._out += data

    def flush(self) -> None:
        """Send what the other side takes now."""
        with suppress(BlockingIOError):
            while self._out:
                del self._out[: self.connection.send(self._out)]
                self._progressed = time.monotonic()

    def tell(self) -> None:
        """Send the newest state, if the one before is gone."""
        if self._out or self._closing or self.newest is None:
            return
        state = self.newest.take()
        if state is None:
            return
        self._send(TextMessage(as_json(shown(state))))
        if state.final:
            self._close(CloseReason.NORMAL_CLOSURE)

    def receive(self) -> None:
        """Answer what the other side sends; it has nothing to say but that it lives, or goes."""
        try:
            data = self.connection.recv(4096)
        except BlockingIOError:
            return
        self._heard = True
        if not data:
            raise ConnectionResetError
        self._protocol.receive_data(data)
        for event in self._protocol.events():
            if isinstance(event, CloseConnection):
                if not self._closing:
                    self.put(self._protocol.send(event.response()))
                self._closed = True
            elif isinstance(event, Ping):
                self._send(event.response())
            elif isinstance(event, Message):
                self._close(CloseReason.POLICY_VIOLATION)

    def look_after(self, now: float) -> None:
        """Say that nothing is known, that we live, or that it is over; called every second."""
        late = now - self._progressed > PATIENCE
        if late and (self._out or self._closing):
            raise TimeoutError
        if self._closing:
            return
        if not self._told and now - self._began > UNKNOWN_AFTER:
            self._send(TextMessage(as_json(shown(None))))
        if now - self._began > LIFETIME:
            self._close(CloseReason.GOING_AWAY)
        elif now - self._beat > BEAT:
            if not self._heard:
                raise TimeoutError
            self._heard, self._beat = False, now
            self._send(Ping())

    def _send(self, event: Event) -> None:
        if self._closing or self._closed:
            return
        self._told = self._told or isinstance(event, TextMessage)
        self.put(self._protocol.send(event))

    def _close(self, reason: CloseReason) -> None:
        self._send(CloseConnection(code=reason))
        self._closing = True
