"""Queues with a length limit."""

import pytest
from amqp.exceptions import MessageNacked


def test_a_full_queue_drops_its_oldest(client):
    client.queue("mail", max_length=2)

    client.publish("one", "two", "three")

    assert client.empty() == ["two", "three"]


def test_a_queue_of_one_keeps_the_last_value(client):
    client.queue("state", max_length=1, overflow="drop-head")

    client.publish("10 %", "50 %", "90 %", key="state")

    assert client.empty("state") == ["90 %"]


def test_a_full_queue_may_refuse_the_newest_and_the_publisher_knows(client):
    client.queue("mail", max_length=2, overflow="reject-publish")
    client.publish("one", "two")

    with pytest.raises(MessageNacked):
        client.publish("three")

    assert client.empty() == ["one", "two"]


def test_a_publisher_that_was_refused_may_publish_again(client):
    client.queue("mail", max_length=1, overflow="reject-publish")
    client.publish("one")
    with pytest.raises(MessageNacked):
        client.publish("two")

    client.get(no_ack=True)
    client.publish("three")

    assert client.empty() == ["three"]


@pytest.mark.parametrize("overflow", ["drop-head", "reject-publish"])
def test_unacknowledged_messages_do_not_count_for_the_limit(client, overflow):
    client.queue("mail", max_length=1, overflow=overflow)
    client.publish("one")
    message = client.get()

    client.publish("two")

    client.ack(message)
    assert client.empty() == ["two"]


def test_expiry_makes_space(client, eventually):
    client.queue("expired")
    expired = {"message_ttl": 200, "dead_letter_exchange": "", "dead_letter_routing_key": "expired"}
    client.queue("visitor", max_length=1, overflow="reject-publish", **expired)
    # On a busy machine the first may have expired before the second comes.
    with pytest.raises(MessageNacked):
        client.publish(*["too soon"] * 1000, key="visitor")

    assert eventually(lambda: client.ready("visitor") == 0)
    client.publish("later", key="visitor")

    assert eventually(lambda: "later" in client.empty("expired"))


def test_purging_makes_space(client):
    client.queue("mail", max_length=1, overflow="reject-publish")
    client.publish("one")

    client.channel.queue_purge("mail")
    client.publish("two")

    assert client.empty() == ["two"]


def test_one_full_queue_refuses_for_all_but_the_others_have_it(client):
    client.queue("full", max_length=1, overflow="reject-publish")
    client.queue("roomy")
    for queue in ("full", "roomy"):
        client.bind(queue, "amq.fanout")
    client.publish("one", exchange="amq.fanout")

    with pytest.raises(MessageNacked):
        client.publish("two", exchange="amq.fanout")

    assert client.empty("full") == ["one"]
    assert client.empty("roomy") == ["one", "two"]


def test_a_queue_may_be_full_by_bytes(client):
    client.queue("mail", max_length_bytes=10)

    client.publish("aaaa", "bbbb", "cccc")

    assert client.empty() == ["bbbb", "cccc"]


def test_one_message_alone_may_be_too_many_bytes(client):
    client.queue("mail", max_length_bytes=3)

    client.publish("four")

    assert client.empty() == []


def test_a_queue_full_by_bytes_may_refuse_the_newest(client):
    client.queue("mail", max_length_bytes=6, overflow="reject-publish")
    client.publish("aaaaaa")

    with pytest.raises(MessageNacked):
        client.publish("b")

    assert client.empty() == ["aaaaaa"]


def test_both_limits_hold(client):
    client.queue("mail", max_length=2, max_length_bytes=6)

    client.publish("aaaa", "bb", "c", "d")

    assert client.empty() == ["c", "d"]


def test_a_message_requeued_into_a_full_queue_is_dropped(client):
    client.queue("mail", max_length=1)
    client.publish("old")
    message = client.get()
    client.publish("new")

    client.requeue(message)

    assert client.empty() == ["new"]


def test_messages_of_a_consumer_do_not_count_for_the_limit(client):
    client.queue("mail", max_length=1)
    inbox = client.consume(prefetch=10)

    for count, body in enumerate(["one", "two", "three"], start=1):
        client.publish(body)
        inbox.wait_for(count)

    assert inbox.bodies == ["one", "two", "three"]
