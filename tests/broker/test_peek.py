"""A message that is read and stays in its queue."""

from select import select

import pytest
from amqp.exceptions import NotFound

from framework.broker.peek import peek


def test_a_message_that_was_peeked_at_stays_the_next_one(client):
    client.queue()
    client.publish("one", "two")

    seen = [peek(client.channel, "mail") for _ in range(3)]

    assert [message.body for message in seen] == ["one", "one", "one"]
    assert [message.delivery_info["message_count"] for message in seen] == [1, 1, 1]
    assert client.empty() == ["one", "two"]


def test_nothing_is_seen_in_an_empty_queue_and_the_channel_can_be_used(client):
    client.queue()

    assert peek(client.channel, "mail") is None

    client.publish("one")
    assert peek(client.channel, "mail").body == "one"


def test_an_unknown_queue_is_not_found(client):
    with pytest.raises(NotFound):
        peek(client.channel, "nowhere")


def test_a_reader_that_is_suspended_while_it_reads_hides_the_message_from_no_other(client, connect, eventually):
    client.queue()
    client.publish("one")
    other = connect()

    class Suspended:
        """A channel whose process does nothing for a while after it has sent its requests."""

        def __getattr__(self, name):
            return getattr(client.channel, name)

        def wait(self, *args, **options):
            select([client.channel.connection.sock], [], [], 60)  # until the broker has answered
            assert eventually(lambda: peek(other.channel, "mail"))
            return client.channel.wait(*args, **options)

        def basic_reject(self, *args, **options):
            raise AssertionError("the message is hidden until a second request")

    assert peek(Suspended(), "mail").body == "one"
    assert peek(other.channel, "mail").body == "one"
