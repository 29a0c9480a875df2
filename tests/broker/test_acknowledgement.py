"""Acknowledgement of messages: ack, reject, and requeue in their places."""

import pytest
from amqp.exceptions import NotFound, PreconditionFailed


@pytest.fixture
def mail(client):
    """A queue with four messages."""
    client.queue("mail")
    client.publish("one", "two", "three", "four")


def redelivered(message):
    return message.delivery_info["redelivered"]


pytestmark = pytest.mark.usefixtures("mail")


def test_an_acked_message_does_not_come_back(client, connect):
    client.ack(client.get())

    client.close()

    assert connect().empty() == ["two", "three", "four"]


def test_acking_several_acks_all_up_to_that_one(client, connect):
    _, second, _ = [client.get() for _ in range(3)]

    client.ack(second, multiple=True)
    client.close()

    assert connect().empty() == ["three", "four"]


def test_acking_tag_zero_acks_all_deliveries(client, connect):
    for _ in range(3):
        client.get()

    client.channel.basic_ack(0, multiple=True)
    client.close()

    assert connect().empty() == ["four"]


def test_messages_are_acked_in_any_order(client, connect):
    first, second, third = [client.get() for _ in range(3)]

    client.ack(third)
    client.ack(first)
    client.close()

    assert connect().empty() == [second.body, "four"]


def answered(channel, acknowledge):
    """Acknowledge or reject, and wait for the broker's answer to another request."""
    acknowledge()
    channel.queue_declare("mail", passive=True)


def test_acking_twice_is_refused(client):
    message = client.get()
    client.ack(message)

    with pytest.raises(PreconditionFailed, match=f"unknown delivery tag {message.delivery_tag}"):
        answered(client.channel, lambda: client.ack(message))


@pytest.mark.parametrize("requeue", [True, False])
def test_rejecting_an_acked_message_is_refused(client, requeue):
    message = client.get()
    client.ack(message)

    with pytest.raises(PreconditionFailed, match=f"unknown delivery tag {message.delivery_tag}"):
        answered(client.channel, lambda: client.reject(message, requeue=requeue))


@pytest.mark.parametrize("multiple", [True, False])
def test_acking_an_unknown_delivery_tag_is_refused(client, multiple):
    with pytest.raises(PreconditionFailed, match="unknown delivery tag 7"):
        answered(client.channel, lambda: client.channel.basic_ack(7, multiple=multiple))


def test_acking_on_another_channel_is_refused(client):
    message = client.get()

    with client.connection.channel() as channel, pytest.raises(PreconditionFailed, match="unknown delivery tag"):
        answered(channel, lambda: channel.basic_ack(message.delivery_tag))


def test_messages_got_without_acks_are_deleted(client, connect):
    client.get(no_ack=True)

    client.close()

    assert connect().empty() == ["two", "three", "four"]


def test_a_rejected_message_is_gone(client, connect):
    client.reject(client.get())

    client.close()

    assert connect().empty() == ["two", "three", "four"]


def test_a_requeued_message_returns_to_its_place(client):
    first, second = client.get(), client.get()

    client.requeue(second)
    assert client.get().body == "two"
    client.requeue(first)
    assert client.empty() == ["one", "three", "four"]


def test_messages_return_to_their_places_in_any_order_of_requeueing(client):
    first, second, third = [client.get() for _ in range(3)]

    client.requeue(second, third, first)

    assert client.empty() == ["one", "two", "three", "four"]


def test_only_messages_delivered_before_are_marked_as_redelivered(client):
    message = client.get()
    assert not redelivered(message)

    client.requeue(message)

    again, second = client.get(), client.get()
    assert (again.body, redelivered(again)) == ("one", True)
    assert (second.body, redelivered(second)) == ("two", False)


def test_recovering_requeues_all_unacknowledged_messages(client):
    for _ in range(3):
        client.get()

    client.channel.basic_recover(requeue=True)

    assert client.empty() == ["one", "two", "three", "four"]


def test_closing_the_channel_requeues_its_messages_in_their_places(client):
    with client.connection.channel() as channel:
        channel.basic_get("mail")
        channel.basic_get("mail")

    messages = [client.get() for _ in range(4)]
    assert [message.body for message in messages] == ["one", "two", "three", "four"]
    assert [redelivered(message) for message in messages] == [True, True, False, False]


def test_closing_the_connection_requeues_its_messages_in_their_places(client, connect):
    client.get()
    client.get()

    client.close()

    assert connect().empty() == ["one", "two", "three", "four"]


def test_losing_the_connection_requeues_its_messages_in_their_places(client, connect, eventually):
    client.get()
    client.get()

    client.connection.collect()

    other = connect()
    assert eventually(lambda: other.ready() == 4)
    assert other.empty() == ["one", "two", "three", "four"]


def test_closing_a_channel_leaves_the_messages_of_another(client):
    held = client.get()
    with client.connection.channel() as channel:
        channel.basic_get("mail")

    assert client.empty() == ["two", "three", "four"]
    client.requeue(held)
    assert client.empty() == ["one"]


def test_deleting_the_queue_deletes_unacknowledged_messages(client, connect):
    message = client.get()

    connect().channel.queue_delete("mail")
    client.ack(message)

    with pytest.raises(NotFound):
        client.ready()
