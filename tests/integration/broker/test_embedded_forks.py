"""Forks: a child neither uses nor harms its parent's connections."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from amqp.exceptions import RecoverableConnectionError
from kombu import Connection, Queue

from framework.broker import register

register()
processes = multiprocessing.get_context("fork")
WAIT = 60


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/broker.db"


@pytest.fixture
def parent(url: str) -> Iterator[Connection]:
    with Connection(url) as connection:
        Queue("mail", channel=connection.default_channel).declare()
        yield connection


def publish(connection, *bodies):
    for body in bodies:
        connection.Producer().publish(body, routing_key="mail")


def get(connection, **options):
    return Queue("mail", channel=connection.default_channel).get(**options)


def bodies(connection):
    return [message.body for message in iter(lambda: get(connection, no_ack=True), None)]


def in_a_child(function, *arguments):
    """Call a function in a forked child and wait for its end."""
    child = processes.Process(target=function, args=arguments)
    child.start()
    child.join(WAIT)
    assert child.exitcode == 0


def test_a_child_publishes_on_a_connection_of_its_own_while_the_parent_has_one(url, parent):
    def child():
        with Connection(url) as own:
            publish(own, "from the child")

    publish(parent, "before")
    in_a_child(child)
    publish(parent, "after")

    assert bodies(parent) == ["before", "from the child", "after"]


def test_nothing_is_lost_when_the_parent_closes_while_the_child_publishes(url):
    parent = Connection(url)
    Queue("mail", channel=parent.default_channel).declare()
    ready, closed = processes.Event(), processes.Event()

    def child():
        with Connection(url) as own:
            publish(own, "one")
            ready.set()
            closed.wait(WAIT)
            publish(own, "two")

    running = processes.Process(target=child)
    running.start()
    assert ready.wait(WAIT)
    parent.release()
    with Connection(url) as another:
        publish(another, "three")
    closed.set()
    running.join(WAIT)
    assert running.exitcode == 0

    with Connection(url) as last:
        assert sorted(bodies(last)) == ["one", "three", "two"]


def test_the_parents_connection_is_refused_in_the_child(parent):
    channel = parent.default_channel

    def child():
        with pytest.raises(RecoverableConnectionError, match="opened before a fork"):
            channel.basic_get("mail")

    in_a_child(child)


@pytest.mark.parametrize("end", ["release", "collect"])
def test_the_parents_messages_stay_unacknowledged_when_the_child_drops_the_connection(url, parent, end):
    publish(parent, "hello")
    message = get(parent)

    in_a_child(lambda: getattr(parent, end)())

    with Connection(url) as another:
        assert get(another) is None
    message.ack()
    with Connection(url) as another:
        assert get(another) is None


def test_a_killed_parents_messages_are_requeued_while_its_child_lives(url):
    held, done = processes.Event(), processes.Event()

    def parent():
        connection = Connection(url)
        Queue("mail", channel=connection.default_channel).declare()
        publish(connection, "hello")
        get(connection)
        if os.fork() == 0:
            done.wait(WAIT)  # the child keeps every descriptor it inherited open
            os._exit(0)
        held.set()
        signal.pause()

    victim = os.fork()
    if victim == 0:
        parent()
    assert held.wait(WAIT)
    with Connection(url) as another:
        assert get(another) is None
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)

        message = get(another)
    done.set()

    assert message.body == "hello"
    assert message.delivery_info["redelivered"]


def test_closing_one_of_two_connections_of_a_process_leaves_the_others_file_alone(url, parent):
    def child():
        with Connection(url) as own:
            publish(own, "from the child")

    with Connection(url) as second:
        publish(second, "one")
    in_a_child(child)
    publish(parent, "two")

    assert bodies(parent) == ["one", "from the child", "two"]
