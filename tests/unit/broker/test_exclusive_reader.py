"""The lock of a queue and `ExclusiveReader`, on both brokers."""

import time

import pytest
from kombu import Connection, Queue

from framework.broker import register
from framework.broker.exclusive_reader import ExclusiveReader, lock, wait_until_unused

register()


@pytest.fixture
def connect(broker_url):
    """Open connections that are closed at the end."""
    connections = []

    def connect():
        connections.append(Connection(broker_url, transport_options={"confirm_publish": True}))
        return connections[-1]

    yield connect
    for connection in connections:
        connection.release()


@pytest.fixture
def connection(connect):
    """A connection to a broker with three messages in the queue ``mail``."""
    connection = connect()
    producer = connection.Producer()
    for body in ("one", "two", "three"):
        producer.publish(body, routing_key="mail", declare=[Queue("mail")])
    return connection


def test_a_lock_belongs_to_one_connection_until_it_is_closed(connect):
    first, second = connect(), connect()

    assert lock(first.channel(), "mail.lock")
    assert lock(first.channel(), "mail.lock")
    assert not lock(second.channel(), "mail.lock")
    first.release()
    assert lock(second.channel(), "mail.lock", time.monotonic() + 60)


def test_a_queue_with_a_consumer_is_not_unused(connection, connect):
    other = connect()
    consumer = other.Consumer(Queue("mail", channel=other.default_channel), prefetch_count=1)
    consumer.consume()

    assert wait_until_unused(connection.default_channel, "mail", time.monotonic()) is None
    other.release()
    counts = wait_until_unused(connection.default_channel, "mail", time.monotonic() + 60)

    assert counts == (3, 0)


def test_a_reader_receives_no_more_than_its_windows(connection):
    reader = ExclusiveReader(connection, "mail", silence=1)
    assert reader.full

    reader.open_window(1)
    first = reader.read()
    assert (first.body, reader.full) == ("one", True)

    reader.open_window(1)
    assert reader.read().body == "two"

    reader.acknowledge(first)
    assert reader.read().body == "three"
    assert reader.read() is None


def test_unacknowledged_messages_are_requeued_when_the_reader_is_closed(connection):
    reader = ExclusiveReader(connection, "mail", silence=1)
    reader.open_window(3)
    reader.acknowledge(reader.read())
    reader.read()

    reader.close()

    assert wait_until_unused(connection.default_channel, "mail", time.monotonic() + 60) == (2, 0)
