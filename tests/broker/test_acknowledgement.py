"""What becomes of a message that was given out: acked, refused, or given back to its place."""

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


def test_acking_tag_zero_acks_all_that_was_given_out(client, connect):
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


def refused(channel, settle):
    """Settle something, and have the broker answer for it."""
    settle()
    channel.queue_declare("mail", passive=True)


def test_acking_twice_is_refused(client):
    message = client.get()
    client.ack(message)

    with pytest.raises(PreconditionFailed, match=f"unknown delivery tag {message.delivery_tag}"):
        refused(client.channel, lambda: client.ack(message))


@pytest.mark.parametrize("requeue", [True, False])
def test_rejecting_what_was_acked_is_refused(client, requeue):
    message = client.get()
    client.ack(message)

    with pytest.raises(PreconditionFailed, match=f"unknown delivery tag {message.delivery_tag}"):
        refused(client.channel, lambda: client.reject(message, requeue=requeue))


@pytest.mark.parametrize("multiple", [True, False])
def test_acking_what_was_never_given_out_is_refused(client, multiple):
    with pytest.raises(PreconditionFailed, match="unknown delivery tag 7"):
        refused(client.channel, lambda: client.channel.basic_ack(7, multiple=multiple))


def test_acking_on_another_channel_is_refused(client):
    message = client.get()

    with client.connection.channel() as channel, pytest.raises(PreconditionFailed, match="unknown delivery tag"):
        refused(channel, lambda: channel.basic_ack(message.delivery_tag))


def test_what_is_got_without_acks_is_gone(client, connect):
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


def test_messages_return_to_their_places_in_whatever_order_they_are_requeued(client):
    first, second, third = [client.get() for _ in range(3)]

    client.requeue(second, third, first)

    assert client.empty() == ["one", "two", "three", "four"]


def test_only_what_was_given_out_before_is_marked_as_redelivered(client):
    message = client.get()
    assert not redelivered(message)

    client.requeue(message)

    again, second = client.get(), client.get()
    assert (again.body, redelivered(again)) == ("one", True)
    assert (second.body, redelivered(second)) == ("two", False)


def test_recovering_returns_all_that_was_given_out(client):
    for _ in range(3):
        client.get()

    client.channel.basic_recover(requeue=True)

    assert client.empty() == ["one", "two", "three", "four"]


def test_closing_the_channel_returns_what_it_held_to_its_place(client):
    with client.connection.channel() as channel:
        channel.basic_get("mail")
        channel.basic_get("mail")

    messages = [client.get() for _ in range(4)]
    assert [message.body for message in messages] == ["one", "two", "three", "four"]
    assert [redelivered(message) for message in messages] == [True, True, False, False]


def test_closing_the_connection_returns_what_it_held_to_its_place(client, connect):
    client.get()
    client.get()

    client.close()

    assert connect().empty() == ["one", "two", "three", "four"]


def test_losing_the_connection_returns_what_it_held_to_its_place(client, connect, eventually):
    client.get()
    client.get()

    client.connection.collect()

    other = connect()
    assert eventually(lambda: other.ready() == 4)
    assert other.empty() == ["one", "two", "three", "four"]


def test_one_channels_end_leaves_what_another_holds(client):
    held = client.get()
    with client.connection.channel() as channel:
        channel.basic_get("mail")

    assert client.empty() == ["two", "three", "four"]
    client.requeue(held)
    assert client.empty() == ["one"]


def test_deleting_the_queue_forgets_what_was_given_out(client, connect):
    message = client.get()

    connect().channel.queue_delete("mail")
    client.ack(message)

    with pytest.raises(NotFound):
        client.ready()
