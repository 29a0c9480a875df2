"""Many sockets, one thread: what a slow visitor does to the others, and what becomes of who is gone."""

import json
import os
import socket
import ssl
import time

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Ping, TextMessage

from framework.errors import NoSocket
from framework.progress import State, store
from framework.progress.store import encoded
from framework.web import sockets
from framework.web.core import LiveStates
from framework.web.sockets import Hub, Opening

WAIT = 30

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
def hub(live):
    return Hub(live)


@pytest.fixture
def publish(app):
    """Tell of a task, as a worker does."""
    with app.connection_for_write() as connection, connection.channel() as channel:
        store.ready(channel)

        def tell(number, *, status="progress", size=0):
            state = State("task", "name", status, number, time.time(), error="x" * size)
            store.publish(channel, "task", encoded(state))

        yield tell


class Reader:
    """The other end of a socket, which reads when it is told to."""

    def __init__(self, hub):
        self._connection, self._server_side = socket.socketpair()
        self._connection.settimeout(WAIT)
        hub.adopt(Opening(ENVIRON | {"gunicorn.socket": self._server_side}), "task").close()
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
        """The next thing that comes; None when the connection is cut."""
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

    def state(self):
        """The next state, as text."""
        text = ""
        while not isinstance(event := self.read(), TextMessage) or not event.message_finished:
            assert event is not None
            text += event.data if isinstance(event, TextMessage) else ""
        return json.loads(text + event.data)

    def say(self, event):
        self._connection.sendall(self._protocol.send(event))

    def close(self):
        self._connection.close()
        self._server_side.close()


@pytest.fixture
def reader(hub):
    """Open a socket for the task."""
    readers = []

    def start():
        readers.append(Reader(hub))
        return readers[-1]

    yield start
    for each in readers:
        each.close()


def test_who_reads_slowly_holds_nobody_up_and_misses_all_but_the_last(reader, publish):
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


def test_after_the_last_state_both_sides_hang_up(reader, publish, hub, eventually):
    watching = reader()
    assert watching.state()["status"] == "unknown"

    publish(1, status="success")
    assert watching.state()["final"]
    goodbye = watching.read()
    watching.say(goodbye.response())

    assert goodbye.code == 1000
    assert watching.read() is None
    eventually(lambda: len(hub) == 0)


def test_who_goes_away_is_forgotten(reader, hub, eventually):
    gone, polite = reader(), reader()
    eventually(lambda: len(hub) == 2)

    gone.close()
    polite.say(CloseConnection(1001))

    eventually(lambda: len(hub) == 0)


def test_who_gives_no_sign_of_life_is_let_go(reader, hub, monkeypatch, eventually):
    monkeypatch.setattr(sockets, "BEAT", 0.5)
    dead, alive = reader(), reader()
    eventually(lambda: len(hub) == 2)

    pings = 0
    while pings < 4:
        event = alive.read()
        if isinstance(event, Ping):
            pings += 1
            alive.say(event.response())

    assert len(hub) == 1
    assert [event for event in iter(dead.read, None) if isinstance(event, Ping)]


def test_who_never_takes_what_is_sent_is_let_go(reader, hub, publish, monkeypatch, eventually):
    monkeypatch.setattr(sockets, "PATIENCE", 1.0)
    assert reader().state()["status"] == "unknown"

    for number in range(1, 51):
        publish(number, size=60_000)

    eventually(lambda: len(hub) == 0)


def test_a_socket_does_not_last_for_ever(reader, monkeypatch):
    monkeypatch.setattr(sockets, "LIFETIME", 0.5)

    events = iter(reader().read, None)

    assert next(event for event in events if isinstance(event, CloseConnection)).code == 1001


def test_what_is_no_websocket_is_cut(reader, hub, eventually):
    noise = reader()

    noise._connection.sendall(b"GET / HTTP/1.1\r\n\r\n")

    eventually(lambda: len(hub) == 0)


def test_a_fork_has_sockets_of_its_own(reader, hub, publish):
    reader()
    child = os.fork()
    if not child:
        fresh = Reader(hub)
        os._exit(0 if len(hub) == 1 and fresh.state()["status"] == "unknown" else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(hub) == 1


def test_a_server_that_hands_nothing_over_is_named():
    with pytest.raises(NoSocket, match="waitress") as refused:
        Opening(ENVIRON | {"SERVER_SOFTWARE": "waitress"})
    assert refused.value.status == 503
    with (
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(socket.socket(), server_hostname="x") as encrypted,
        pytest.raises(NoSocket, match="without TLS"),
    ):
        Opening(ENVIRON | {"gunicorn.socket": encrypted})
    with pytest.raises(NoSocket) as refused:
        Opening({name: value for name, value in ENVIRON.items() if "KEY" not in name})
    assert refused.value.status == 400
