"""WebSockets under WSGI: the connections are taken from the server, and one thread serves all of them.

A WSGI server has a thread per request, and a socket is a request that lasts for hours: eight sockets would occupy a
server with eight threads. So the request ends and its connection stays open.
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
from framework.web.core import (
    MAX_SOCKET_SECONDS,
    PING_INTERVAL_SECONDS,
    UNKNOWN_AFTER_SECONDS,
    LiveStates,
    SocketShares,
    as_json,
    public_view,
)

__all__ = ["Handshake", "SocketServer"]


log = get_logger(__name__)

#: Seconds between two checks of idle sockets.
CHECK_INTERVAL_SECONDS = 1.0

#: Bytes that wait for a visitor who does not read, above which nothing more is read from the visitor.
MAX_UNSENT_BYTES = 16 * 1024

#: Seconds that a visitor's side may take to read what was sent, or to confirm that the socket is closed.
TIMEOUT_SECONDS = 20.0


class Handshake:
    """A request for a socket that was read and has no response yet.

    Args:
        environ: the request, as WSGI has it.

    Raises:
        NoSocket: the request is malformed, or this server does not give access to its connections.
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
            self.response = self.protocol.send(AcceptConnection())
        except (ProtocolError, LocalProtocolError) as exc:
            raise NoSocket.for_request(exc) from exc
        found = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
        if not isinstance(found, socket.socket) or isinstance(found, ssl.SSLSocket):
            raise NoSocket.under(environ.get("SERVER_SOFTWARE") or "This server")
        self._socket = found

    def take(self) -> tuple[socket.socket, socket.socket]:
        """Take the connection from the server; return it and the end of a pipe, to be closed when the request ends.

        The server gets the other end of the pipe under the same file descriptor: it writes its response there, and may
        close it.
        """
        connection = self._socket.dup()
        server_end, pipe_end = socket.socketpair()
        with server_end:
            os.dup2(server_end.fileno(), self._socket.fileno(), inheritable=False)
        return connection, pipe_end


class SocketServer:
    """Serves all sockets of a process in one thread, which starts with the first.

    Args:
        live: the states of tasks.
        shares: how many sockets may be open.
    """

    def __init__(self, live: LiveStates, shares: SocketShares | None = None) -> None:
        self._live = live
        self._shares = shares or SocketShares()
        self._lock = threading.Lock()
        self._pid = 0

    def __len__(self) -> int:
        return len(self._sockets) if self._pid == os.getpid() else 0

    def adopt(self, handshake: Handshake, task_id: str, visitor: str) -> socket.socket:
        """Serve a socket of ``visitor`` from now on; return the end of a pipe, to be closed when its request ends.

        Raises:
            NoSocket: as many as may be are open, in all or of this visitor.
        """
        with self._lock:
            if self._pid != os.getpid():  # a fork does not have the thread
                self._start()
            self._shares.take(visitor)
            try:
                connection, pipe_end = handshake.take()
            except BaseException:
                self._shares.release(visitor)
                raise
            served = Socket(connection, handshake.protocol, task_id, visitor)
            self._sockets.add(served)
        served.put(handshake.response)
        self._wake(served)
        return pipe_end

    def _start(self) -> None:
        self._pid = os.getpid()
        self._shares.clear()
        self._sockets: set[Socket] = set()
        self._pending: set[Socket] = set()
        self._wakeup_reader, self._wakeup_writer = socket.socketpair()
        self._wakeup_reader.setblocking(False)
        self._wakeup_writer.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wakeup_reader, selectors.EVENT_READ)
        threading.Thread(target=self._run, name="task sockets", daemon=True).start()

    def _wake(self, served: "Socket") -> None:
        self._pending.add(served)
        with suppress(OSError):  # the pipe is full, so the thread wakes anyway
            self._wakeup_writer.send(b"!")

    def _run(self) -> None:
        next_check = 0.0
        while True:
            for key, _ in self._selector.select(CHECK_INTERVAL_SECONDS):
                if key.data is None:
                    self._drain_wakeup()
                else:
                    self._serve(key.data, key.data.receive)
            while self._pending:
                self._serve(self._pending.pop(), lambda: None)
            if (now := time.monotonic()) >= next_check:
                next_check = now + CHECK_INTERVAL_SECONDS
                for served in list(self._sockets):
                    if served.registered:
                        self._serve(served, partial(served.check, now))

    def _drain_wakeup(self) -> None:
        with suppress(BlockingIOError):
            while self._wakeup_reader.recv(4096):
                pass

    def _serve(self, served: "Socket", do: Any) -> None:
        if served not in self._sockets:
            return
        try:
            if not served.registered:
                self._begin(served)
            do()
            served.send_state()
            served.flush()
            self._selector.modify(served.connection, served.events, served)
            finished = served.finished
        except (OSError, ProtocolError):
            finished = True
        except Exception:
            log.exception("A socket on which task %s is watched failed", served.task_id)
            finished = True
        if finished:
            self._end(served)

    def _begin(self, served: "Socket") -> None:
        served.connection.setblocking(False)
        self._selector.register(served.connection, selectors.EVENT_READ, served)
        served.registered = True
        served.latest = self._live.watch(served.task_id, partial(self._wake, served))

    def _end(self, served: "Socket") -> None:
        if served.latest is not None:
            served.latest.close()
        with suppress(KeyError, ValueError):
            self._selector.unregister(served.connection)
        served.connection.close()
        with self._lock:
            self._sockets.discard(served)
            self._shares.release(served.visitor)


class Socket:
    """A visitor's socket: its unsent data, and when data was last sent or received."""

    def __init__(self, connection: socket.socket, protocol: WSConnection, task_id: str, visitor: str) -> None:
        self.connection = connection
        self.task_id = task_id
        self.visitor = visitor
        self.latest: Any = None
        self.registered = False
        self._protocol = protocol
        self._out = bytearray()
        self._opened_at = self._sent_at = self._pinged_at = time.monotonic()
        self._received = True
        self._sent_state = False
        self._closing = False
        self._closed = False

    @property
    def finished(self) -> bool:
        """Whether both sides have closed the socket and everything was sent."""
        return self._closed and not self._out

    @property
    def events(self) -> int:
        """The events for the selector."""
        reads = selectors.EVENT_READ if len(self._out) < MAX_UNSENT_BYTES else 0
        return reads | (selectors.EVENT_WRITE if self._out else 0)

    def put(self, data: bytes) -> None:
        """Queue data, which `flush` sends."""
        if not self._out:
            self._sent_at = time.monotonic()
        self._out += data

    def flush(self) -> None:
        """Send as much of the queued data as the other side takes now."""
        with suppress(BlockingIOError):
            while self._out:
                del self._out[: self.connection.send(self._out)]
                self._sent_at = time.monotonic()

    def send_state(self) -> None:
        """Send the latest state, if the one before was sent completely."""
        if self._out or self._closing or self.latest is None:
            return
        state = self.latest.take()
        if state is None:
            return
        self._send(TextMessage(as_json(public_view(state))))
        if state.final:
            self._close(CloseReason.NORMAL_CLOSURE)

    def receive(self) -> None:
        """Respond to pings and to the end; close the socket where the other side sends anything else."""
        try:
            data = self.connection.recv(4096)
        except BlockingIOError:
            return
        self._received = True
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

    def check(self, now: float) -> None:
        """Send `UNKNOWN`, a ping or the end where it is time; called every second.

        Raises:
            TimeoutError: the other side does not read or respond.
        """
        late = now - self._sent_at > TIMEOUT_SECONDS
        if late and (self._out or self._closing):
            raise TimeoutError
        if self._closing:
            return
        if not self._sent_state and now - self._opened_at > UNKNOWN_AFTER_SECONDS:
            self._send(TextMessage(as_json(public_view(None))))
        if now - self._opened_at > MAX_SOCKET_SECONDS:
            self._close(CloseReason.GOING_AWAY)
        elif now - self._pinged_at > PING_INTERVAL_SECONDS:
            if not self._received:
                raise TimeoutError
            self._received, self._pinged_at = False, now
            self._send(Ping())

    def _send(self, event: Event) -> None:
        if self._closing or self._closed:
            return
        self._sent_state = self._sent_state or isinstance(event, TextMessage)
        self.put(self._protocol.send(event))

    def _close(self, reason: CloseReason) -> None:
        self._send(CloseConnection(code=reason))
        self._closing = True
