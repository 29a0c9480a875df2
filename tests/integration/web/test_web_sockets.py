"""Many sockets in one thread: slow readers do not affect the others, and lost connections are closed."""

import json
import os
import socket
import ssl
import threading
import time
from contextlib import suppress

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Ping, Pong, TextMessage

from framework.errors import NoSocket
from framework.progress import State, store
from framework.progress.store import encoded
from framework.web import sockets
from framework.web.core import LiveStates, SocketShares
from framework.web.sockets import Handshake, SocketServer

WAIT = 60

ENVIRON = {
    "HTTP_HOST": "localhost",
    "HTTP_CONNECTION": "Upgrade",
    "HTTP_UPGRADE": "websocket",
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
    "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture
def live(app):
    live = LiveStates(app)
    yield live
    live.close()


@pytest.fixture
def server(live):
    return SocketServer(live)


class Clock:
    """The sockets' clock, which the test moves."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(sockets, "time", clock)
    monkeypatch.setattr(sockets, "CHECK_INTERVAL_SECONDS", 0.05)
    return clock


@pytest.fixture
def publish(app, live):
    """Publish states of a task as a worker does, once they reach the sockets that were opened before."""
    reach = threading.Event()

    with app.connection_for_write() as connection, connection.channel() as channel:
        store.declare_exchange(channel)
        store.declare_value(channel, "mark", 3600)
        store.replace(channel, "mark", encoded(State("mark", "mark", "queued", 0, time.time())))
        assert store.exists(channel, "mark")  # the broker has stored it

        def publish_state(number, *, status="progress", size=0):
            if not reach.is_set():
                live.watch("mark", reach.set)  # the watcher begins to watch tasks in their order
                assert reach.wait(WAIT)
            state = State("task", "name", status, number, time.time(), error="x" * size)
            store.publish(channel, "task", encoded(state))

        yield publish_state


class Reader:
    """The client's end of a socket, which reads when the test calls it."""

    def __init__(self, server, visitor="ann"):
        self._connection, self._server_side = socket.socketpair()
        self._connection.settimeout(WAIT)
        server.adopt(Handshake(ENVIRON | {"gunicorn.socket": self._server_side}), "task", visitor).close()
        self._protocol = Connection(ConnectionType.CLIENT, trailing_data=self._after_the_handshake())
        self._protocol.receive_data(b"")
        self._events = []

    def _after_the_handshake(self):
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._connection.recv(65536)
        head, _, rest = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        return rest

    def read(self):
        """The next event; None when the connection is closed."""
        while True:
            self._events += self._protocol.events()
            if self._events:
                return self._events.pop(0)
            try:
                data = self._connection.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return None
            self._protocol.receive_data(data)

    def next(self, kind):
        """The next event of a kind; the others are dropped."""
        while not isinstance(event := self.read(), kind):
            assert event is not None
        return event

    def state(self):
        """The next state, as text."""
        text = ""
        while not isinstance(event := self.read(), TextMessage) or not event.message_finished:
            assert event is not None
            text += event.data if isinstance(event, TextMessage) else ""
        return json.loads(text + event.data)

    def send(self, event):
        self._connection.sendall(self._protocol.send(event))

    def close(self):
        self._connection.close()
        self._server_side.close()


@pytest.fixture
def reader(server):
    """Open a socket for the task."""
    readers = []

    def start(visitor="ann"):
        readers.append(Reader(server, visitor))
        return readers[-1]

    yield start
    for each in readers:
        each.close()


def test_a_slow_reader_does_not_delay_the_others_and_receives_the_final_state(reader, publish, monkeypatch):
    monkeypatch.setattr(sockets, "TIMEOUT_SECONDS", 3600.0)
    monkeypatch.setattr(sockets, "PING_INTERVAL_SECONDS", 3600.0)
    slow, quick = reader(), reader()
    assert slow.state()["status"] == quick.state()["status"] == "unknown"

    for number in range(1, 301):
        publish(number, size=50_000)
        if number % 100 == 0:
            while quick.state().get("number") != number:
                pass
    publish(301, status="success")
    while quick.state().get("number") != 301:
        pass
    late = [slow.state()]
    while not late[-1]["final"]:
        late.append(slow.state())

    assert len(late) < 100
    assert late[-1]["number"] == 301


def test_both_sides_close_the_socket_after_the_final_state(reader, publish, server, eventually):
    watching = reader()
    assert watching.state()["status"] == "unknown"

    publish(1, status="success")
    assert watching.state()["final"]
    closing = watching.read()
    watching.send(closing.response())

    assert closing.code == 1000
    assert watching.read() is None
    eventually(lambda: len(server) == 0)


def test_a_socket_that_the_visitor_closed_is_removed(reader, server, eventually):
    cut, closed = reader(), reader()
    eventually(lambda: len(server) == 2)

    cut.close()
    closed.send(CloseConnection(1001))

    eventually(lambda: len(server) == 0)


def test_a_socket_without_a_response_to_a_ping_is_closed(reader, server, clock, eventually):
    silent, alive = reader(), reader()
    eventually(lambda: len(server) == 2)

    for _ in range(4):
        clock.now += sockets.PING_INTERVAL_SECONDS + 1
        alive.send(alive.next(Ping).response())
        alive.send(Ping())
        alive.next(Pong)  # the server has read all that was sent before

    assert len(server) == 1
    assert [event for event in iter(silent.read, None) if isinstance(event, Ping)]


def test_a_socket_whose_visitor_never_reads_is_closed(reader, server, publish, monkeypatch, eventually):
    monkeypatch.setattr(sockets, "TIMEOUT_SECONDS", 1.0)
    assert reader().state()["status"] == "unknown"

    for number in range(1, 51):
        publish(number, size=60_000)

    eventually(lambda: len(server) == 0)


def test_a_visitor_who_pings_and_does_not_read_takes_little_memory(reader, server):
    """B5."""
    flood = reader()
    # The visitor's side is not read any more once the answers wait: its data is stuck in the buffers of the network.
    flood._connection.settimeout(2)
    with pytest.raises(TimeoutError):
        flood._connection.sendall(flood._protocol.send(Ping(b"x" * 125)) * 400_000)

    [served] = server._sockets
    assert len(served._out) < 2 * sockets.MAX_UNSENT_BYTES


def test_a_visitor_who_reads_again_has_all_answers(reader):
    late = reader()
    late._connection.settimeout(2)
    sent = 0
    with suppress(TimeoutError):
        while sent < 50_000:
            late._connection.sendall(late._protocol.send(Ping(b"%d" % sent)))
            sent += 1
    late._connection.settimeout(WAIT)

    answered = -1
    while answered < min(sent, 5000) - 1:
        event = late.read()
        if isinstance(event, Pong):
            assert int(event.payload) == answered + 1
            answered += 1


def test_a_visitor_has_a_share_of_the_sockets(live, eventually):
    """B5."""
    server = SocketServer(live, SocketShares(3, 2))
    first = Reader(server)
    others = [Reader(server)]
    assert "2 sockets of one visitor" in refusal(server, "ann")
    others.append(Reader(server, "ben"))
    assert "3 sockets open" in refusal(server, "eve")
    first.close()
    eventually(lambda: len(server) == 2)

    others.append(Reader(server, "eve"))
    for each in others:
        each.close()
    eventually(lambda: len(server) == 0)


def refusal(server, visitor):
    """Return why a visitor gets no socket."""
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(NoSocket) as refused:
        server.adopt(Handshake(ENVIRON | {"gunicorn.socket": theirs}), "task", visitor)
    return refused.value.message


def test_a_socket_is_closed_after_its_maximum_time(reader, monkeypatch):
    monkeypatch.setattr(sockets, "MAX_SOCKET_SECONDS", 0.5)

    events = iter(reader().read, None)

    assert next(event for event in events if isinstance(event, CloseConnection)).code == 1001


def test_a_connection_with_other_data_is_closed(reader, server, eventually):
    noise = reader()

    noise._connection.sendall(b"GET / HTTP/1.1\r\n\r\n")

    eventually(lambda: len(server) == 0)


def test_a_fork_has_sockets_of_its_own(reader, server, publish):
    reader()
    child = os.fork()
    if not child:
        works = False
        try:
            fresh = Reader(server)
            works = len(server) == 1 and fresh.state()["status"] == "unknown"
        finally:
            os._exit(0 if works else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(server) == 1


def test_a_server_without_access_to_its_connections_is_named():
    with pytest.raises(NoSocket, match="waitress") as refused:
        Handshake(ENVIRON | {"SERVER_SOFTWARE": "waitress"})
    assert refused.value.status == 503
    with (
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(socket.socket(), server_hostname="x") as encrypted,
        pytest.raises(NoSocket, match="unless they serve TLS"),
    ):
        Handshake(ENVIRON | {"gunicorn.socket": encrypted})
    with pytest.raises(NoSocket) as refused:
        Handshake({name: value for name, value in ENVIRON.items() if "KEY" not in name})
    assert refused.value.status == 400
