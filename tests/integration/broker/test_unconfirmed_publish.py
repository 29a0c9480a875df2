"""Calls without an answer of the broker: the error says whether the task may be queued."""

import socket
import threading
from contextlib import suppress

import pytest
from kombu import pools

from framework.celery.app import App
from framework.errors import BrokerUnreachable, NotConfirmed
from framework.testing.rabbitmq import RabbitMQ


class Proxy:
    """A TCP proxy between client and broker; with ``swallows``, it drops the broker's answers."""

    def __init__(self, target):
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.swallows = False
        self._ends = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self):
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                broker = socket.create_connection(self._target)
                self._ends += [client, broker]
                threading.Thread(target=self._forward, args=(client, broker, False), daemon=True).start()
                threading.Thread(target=self._forward, args=(broker, client, True), daemon=True).start()

    def _forward(self, source, sink, answers):
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if answers and self.swallows:
                    continue
                sink.sendall(data)

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        for end in [self._listener, *self._ends]:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture
def caller_of():
    """Return a function that makes an application for a broker; all are closed at the end."""
    made = []

    def make(url, timeout=60.0):
        made.append(App("caller", set_as_current=False, broker=url, backend="disabled"))
        made[-1].conf.update(task_remote_names=["probe.*"], task_publish_timeout=timeout)
        return made[-1]

    yield make
    pools.reset()
    for app in made:
        app.close()


@pytest.fixture
def proxy(rabbitmq):
    made = Proxy(("127.0.0.1", rabbitmq.port))
    yield made
    made.close()


@pytest.fixture(scope="module")
def own_rabbitmq(release):
    """A node that tests can stop: no other test uses it."""
    with RabbitMQ(release=release) as node:
        yield node


def ids_in_the_queue(app):
    """Remove the messages of the task queue; return their ids."""
    with app.connection_for_read() as connection:
        messages = iter(lambda: connection.default_channel.basic_get("celery", no_ack=True), None)
        return [message.headers["id"] for message in messages]


def test_a_confirm_that_never_comes_names_the_id_of_a_task_that_may_be_queued(rabbitmq, proxy, caller_of, eventually):
    url = rabbitmq.vhost()
    app = caller_of(url.replace(f":{rabbitmq.port}/", f":{proxy.port}/"))
    app.send_task("probe.first", task_id="the-first")
    app.conf.task_publish_timeout = 2.0
    proxy.swallows = True

    with pytest.raises(NotConfirmed, match="may have been queued, with the id the-second") as unknown:
        app.send_task("probe.second", task_id="the-second")

    assert "Nothing was queued" not in unknown.value.message
    assert isinstance(unknown.value, BrokerUnreachable)
    found, direct = [], caller_of(url)
    eventually(lambda: found.extend(ids_in_the_queue(direct)) or len(found) >= 2)  # the proxy forwards it meanwhile
    assert found == ["the-first", "the-second"]


def test_a_broker_stopped_after_connecting_may_have_the_task(own_rabbitmq, caller_of, frozen):
    app = caller_of(own_rabbitmq.url)
    app.send_task("probe.first")
    app.conf.task_publish_timeout = 2.0

    with frozen(own_rabbitmq), pytest.raises(NotConfirmed) as unknown:
        app.send_task("probe.second")

    assert "may have been queued" in unknown.value.message


def test_an_unreachable_broker_has_queued_nothing(caller_of):
    with socket.socket() as silent:  # it has a port, so that nobody else takes it, and does not listen
        silent.bind(("127.0.0.1", 0))
        app = caller_of(f"amqp://guest:guest@127.0.0.1:{silent.getsockname()[1]}//", timeout=2.0)

        with pytest.raises(BrokerUnreachable, match="Nothing was queued") as refused:
            app.send_task("probe.any")

    assert not isinstance(refused.value, NotConfirmed)


def test_a_broker_stopped_before_a_publish_has_queued_nothing(own_rabbitmq, caller_of, frozen):
    app = caller_of(own_rabbitmq.url, timeout=2.0)

    with (
        frozen(own_rabbitmq),
        pytest.raises(BrokerUnreachable, match="Nothing was queued") as refused,
    ):
        app.send_task("probe.any")

    assert not isinstance(refused.value, NotConfirmed)
