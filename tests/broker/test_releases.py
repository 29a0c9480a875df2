"""What differs between the releases of RabbitMQ (findings G); the embedded broker does as 3.10."""

import pytest
from amqp.exceptions import PreconditionFailed

QUORUM = {"queue_type": "quorum"}


@pytest.fixture
def rabbitmq_alone(broker):
    if broker == "sqlite":
        pytest.skip("a method or an order of RabbitMQ alone")


def count(message):
    return (message.headers or {}).get("x-delivery-count", 0)


@pytest.mark.usefixtures("rabbitmq_alone")
def test_a_nack_counts_as_a_delivery_before_4_3_alone(client):
    client.queue("mail", delivery_limit=5, **QUORUM)
    client.publish("hello")

    for _ in range(2):
        client.nack(client.take())

    assert count(client.take()) == (0 if client.release >= (4, 3) else 2)


@pytest.mark.usefixtures("rabbitmq_alone")
def test_a_message_that_is_nacked_for_ever_never_ends_from_4_3_on(client):
    client.queue("dead")
    client.queue("mail", delivery_limit=2, dead_letter_exchange="", dead_letter_routing_key="dead", **QUORUM)
    client.publish("hello")

    for _ in range(3):
        client.nack(client.take())

    assert client.take("mail" if client.release >= (4, 3) else "dead").body == "hello"


def test_a_rejected_message_ends_on_each_release(client):
    client.queue("dead")
    client.queue("mail", delivery_limit=2, dead_letter_exchange="", dead_letter_routing_key="dead", **QUORUM)
    client.publish("hello")

    for _ in range(3):
        client.requeue(client.take())

    assert client.take("dead").headers["x-death"][0]["reason"] == "delivery_limit"


def test_a_message_of_a_consumer_that_is_killed_each_time_ends_on_each_release(client, connect):
    client.queue("dead")
    client.queue("mail", delivery_limit=2, dead_letter_exchange="", dead_letter_routing_key="dead", **QUORUM)
    client.publish("hello")

    for _ in range(3):
        killed = connect()
        killed.take()
        killed.connection.collect()

    assert client.take("dead").headers["x-death"][0]["reason"] == "delivery_limit"


def test_a_message_of_a_retaining_queue_is_never_charged(client):
    """RabbitMQ 4.0 and later have a delivery limit of 20 where a queue has none of its own."""
    client.queue("failed", delivery_limit=1_000_000_000, **QUORUM)
    client.publish("hello", key="failed")

    for _ in range(25):
        client.requeue(client.take("failed"))

    assert client.take("failed").body == "hello"


def test_a_quorum_queue_accepts_no_max_priority(client):
    with pytest.raises(PreconditionFailed, match="x-max-priority"):
        client.queue("mail", max_priority=5, **QUORUM)


@pytest.mark.usefixtures("rabbitmq_alone")
def test_priorities_of_a_quorum_queue_are_none_then_two_then_strict_with_4_for_unset(client):
    client.queue("mail", **QUORUM)
    for priority in (0, 4, None, 5, 9):
        client.publish(str(priority), priority=priority)

    order = client.empty()

    if client.release < (4, 0):
        assert order == ["0", "4", "None", "5", "9"]
    elif client.release < (4, 3):  # above 4 is high; of two high messages comes one low one
        assert order == ["5", "9", "0", "4", "None"]
    else:
        assert order == ["9", "5", "4", "None", "0"]
