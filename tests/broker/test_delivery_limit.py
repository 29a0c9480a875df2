"""Delivery limit of quorum queues."""

import pytest

QUORUM = {"queue_type": "quorum"}


def delivery_count(message):
    return (message.headers or {}).get("x-delivery-count", 0)


def test_a_message_is_delivered_once_more_than_the_limit(client):
    client.queue("mail", delivery_limit=2, **QUORUM)
    client.publish("hello")

    for _ in range(3):
        client.requeue(client.take())

    client.publish("next")
    assert client.take().body == "next"


def test_a_message_has_the_number_of_its_redeliveries(client):
    client.queue("mail", delivery_limit=5, **QUORUM)
    client.publish("hello")
    counts = []

    for _ in range(3):
        message = client.take()
        counts.append((delivery_count(message), message.delivery_info["redelivered"]))
        client.requeue(message)

    assert counts == [(0, False), (1, True), (2, True)]


def test_over_the_limit_it_is_a_dead_letter(client):
    client.queue("dead")
    client.queue("mail", delivery_limit=1, dead_letter_exchange="", dead_letter_routing_key="dead", **QUORUM)
    client.publish("hello")

    for _ in range(2):
        client.requeue(client.take())

    [death] = client.take("dead").headers["x-death"]
    assert (death["reason"], death["queue"], death["count"]) == ("delivery_limit", "mail", 1)


def test_a_lost_connection_counts_too(client, connect):
    client.queue("dead")
    client.queue("mail", delivery_limit=0, dead_letter_exchange="", dead_letter_routing_key="dead", **QUORUM)
    client.publish("hello")
    other = connect()
    other.take()

    other.connection.collect()

    assert client.take("dead").headers["x-death"][0]["reason"] == "delivery_limit"


def test_a_cancelled_consumer_may_still_ack_and_nothing_is_counted(client):
    client.queue("mail", delivery_limit=1, **QUORUM)
    client.publish("one", "two")
    inbox = client.consume(prefetch=1)
    inbox.wait_for(1)

    inbox.cancel()
    client.ack(inbox[0])

    message = client.take()
    assert (message.body, delivery_count(message)) == ("two", 0)


def test_a_consumer_receives_a_requeued_message_again_until_the_limit(client):
    client.queue("mail", delivery_limit=2, **QUORUM)
    inbox = client.consume(prefetch=1)
    client.publish("hello")

    for number in range(3):
        inbox.wait_for(number + 1)
        client.requeue(inbox[number])
    client.publish("next")

    assert inbox.wait_for(4) == ["hello", "hello", "hello", "next"]


@pytest.mark.parametrize("limit", [0, 1])
def test_a_small_limit_is_a_limit(client, limit):
    client.queue("mail", delivery_limit=limit, **QUORUM)
    client.publish("hello", "next")

    for _ in range(limit + 1):
        message = client.take()
        assert message.body == "hello"
        client.requeue(message)

    assert client.take().body == "next"
