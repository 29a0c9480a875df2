"""The ready messages of a queue with a length limit are counted as they come and go, not for each publish."""

import contextlib

import pytest
from amqp.exceptions import MessageNacked
from kombu import Connection

from framework.broker import register

register()


@pytest.fixture
def connection(tmp_path):
    with Connection(f"sqlite:///{tmp_path}/broker.db") as connection:
        yield connection


@pytest.fixture
def channel(connection):
    return connection.default_channel


def full_queue(channel, name, length, overflow):
    arguments = {"x-max-length": length, "x-max-length-bytes": 10**6, "x-overflow": overflow}
    channel.queue_declare(name, durable=True, auto_delete=False, arguments=arguments)
    publish(channel, name, length)


def publish(channel, name, count=1):
    for _ in range(count):
        with contextlib.suppress(MessageNacked):
            channel.basic_publish(channel.prepare_message(b"12345"), routing_key=name)


def steps_of(connection, action):
    """Return how many instructions of SQLite's machine an action takes."""
    steps = []
    database = connection.connection.database._db
    database.set_progress_handler(lambda: steps.append(1), 1)
    action()
    database.set_progress_handler(None, 1)
    return len(steps)


@pytest.mark.parametrize("overflow", ["drop-head", "reject-publish"])
def test_b8_a_publish_to_a_long_full_queue_takes_no_more_steps_than_to_a_short_one(connection, channel, overflow):
    full_queue(channel, "short", 10, overflow)
    full_queue(channel, "long", 1000, overflow)

    short, long = (steps_of(connection, lambda name=name: publish(channel, name)) for name in ("short", "long"))

    assert long < short * 1.5 + 100


def counted_and_there(connection):
    read = connection.connection.database.read
    there = "select count(*), coalesce(sum(length(body)), 0) from message where holder is null"
    return read("select sum(messages), sum(bytes) from size")[0], read(there)[0]


def test_b8_the_count_is_right_after_every_operation_on_messages(connection, channel):
    full_queue(channel, "mail", 20, "reject-publish")
    taken = [channel.basic_get("mail") for _ in range(6)]

    operations = [
        lambda: channel.basic_ack(taken[0].delivery_tag),
        lambda: channel.basic_reject(taken[1].delivery_tag, requeue=True),
        lambda: channel.basic_reject(taken[2].delivery_tag, requeue=False),
        lambda: channel.basic_get("mail", no_ack=True),
        lambda: publish(channel, "mail", 30),
        lambda: channel.basic_consume("mail", no_ack=True),
        lambda: connection.drain_events(timeout=10),
        lambda: channel.close(),
        lambda: publish(connection.channel(), "mail", 3),
        lambda: connection.channel().queue_purge("mail"),
    ]
    for operation in operations:
        operation()
        counted, there = counted_and_there(connection)
        assert counted == there

    connection.channel().queue_delete("mail")
    assert connection.connection.database.read("select count(*) from size") == [(0,)]
