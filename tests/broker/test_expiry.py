"""Time-to-live of messages and expiry of unused queues."""

from contextlib import suppress

import pytest
from amqp.exceptions import MessageNacked, NotFound, PreconditionFailed

SOON = 100
LATER = 600_000


def gone(client):
    """Return whether ``mail`` is deleted; a passive declaration would restart its expiry."""
    returned = []
    client.channel.events["basic_return"].add(lambda *message: returned.append(message))
    with suppress(MessageNacked):  # the queue is being deleted
        client.publish("are you there?", mandatory=True)
    return returned


def wait(client, eventually, milliseconds, meanwhile=None):
    """Wait until a message has expired on the broker's clock; call ``meanwhile`` repeatedly."""

    def over():
        if meanwhile:
            meanwhile(client)
        return client.ready("clock") == 0

    client.queue("clock", message_ttl=milliseconds)
    client.publish("tick", key="clock")
    assert eventually(over)
    client.channel.queue_delete("clock")


def is_stored(client, **properties):
    """Publish a message, and return whether it is still there; on a busy machine it may have expired already."""
    client.publish("hello", **properties)
    return client.ready() > 0


def delivered(client):
    """Publish a message and return its delivery to a consumer that waited for it, and receives no more."""
    inbox = client.consume()
    client.publish("hello")
    inbox.wait_for(1)
    inbox.cancel()
    return inbox[0]


def test_a_queue_drops_messages_after_its_ttl(client, eventually):
    client.queue("mail", message_ttl=SOON)

    assert eventually(lambda: is_stored(client))

    assert eventually(lambda: client.ready() == 0)
    assert client.get() is None


def test_a_message_is_dropped_after_its_expiration(client, eventually):
    client.queue("mail")

    assert eventually(lambda: is_stored(client, expiration=str(SOON)))

    assert eventually(lambda: client.ready() == 0)


@pytest.mark.parametrize(("queue", "message"), [(SOON, LATER), (LATER, SOON)])
def test_the_shorter_ttl_counts(client, eventually, queue, message):
    client.queue("mail", message_ttl=queue)

    client.publish("hello", expiration=str(message))

    assert eventually(lambda: client.ready() == 0)


def test_a_message_delivered_in_time_does_not_expire(client, eventually):
    client.queue("dead")
    client.queue("mail", message_ttl=SOON, dead_letter_exchange="", dead_letter_routing_key="dead")
    message = delivered(client)

    wait(client, eventually, 2 * SOON)
    client.ack(message)

    assert client.ready("dead") == 0


def test_a_message_requeued_too_late_expires(client, eventually):
    client.queue("mail", message_ttl=SOON)
    message = delivered(client)

    wait(client, eventually, 2 * SOON)
    client.requeue(message)

    assert eventually(lambda: client.ready() == 0)
    assert client.get() is None


def test_a_message_behind_one_that_lives_longer_goes_when_it_is_first(client, eventually):
    client.queue("dead")
    client.queue("mail", dead_letter_exchange="", dead_letter_routing_key="dead")
    client.publish("first", expiration=str(LATER))
    client.publish("second", expiration=str(SOON))
    wait(client, eventually, 2 * SOON)
    assert (client.ready(), client.ready("dead")) == (2, 0)

    first = client.get()

    assert first.body == "first"
    assert client.take("dead").body == "second"


def test_a_message_with_ttl_0_is_dropped_without_a_consumer(client):
    client.queue("mail")

    client.publish("hello", expiration="0")

    assert client.get() is None


def test_a_message_with_ttl_0_is_delivered_to_a_waiting_consumer(client):
    client.queue("mail")
    inbox = client.consume()

    client.publish("hello", expiration="0")

    assert inbox.wait_for(1) == ["hello"]


def test_a_waiting_consumer_does_not_receive_expired_messages(client, eventually):
    client.queue("mail", message_ttl=SOON)
    client.publish("old")
    assert eventually(lambda: client.ready() == 0)

    inbox = client.consume()
    client.publish("new")

    assert inbox.wait_for(1) == ["new"]


def test_a_message_is_delivered_with_its_expiration(client):
    client.queue("mail")

    client.publish("hello", expiration=str(LATER))

    assert client.get().properties["expiration"] == str(LATER)


@pytest.mark.parametrize("expiration", ["soon", "-1", "1.5", ""])
def test_an_expiration_that_is_no_number_is_refused(client, expiration):
    client.queue("mail")

    with pytest.raises(PreconditionFailed, match="expiration"):
        client.publish("hello", expiration=expiration)


def test_an_unused_queue_expires(client, eventually):
    client.queue("mail", expires=SOON)

    assert eventually(lambda: gone(client))


def test_publishing_is_no_use_of_a_queue(client, eventually):
    client.queue("mail", expires=SOON)

    wait(client, eventually, 2 * SOON, meanwhile=lambda client: client.publish("hello"))

    assert eventually(lambda: gone(client))


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda client: client.get(), id="getting"),
        pytest.param(lambda client: client.queue("mail", expires=4 * SOON), id="declaring"),
        pytest.param(lambda client: client.counts(), id="asking for it"),
    ],
)
def test_a_queue_lives_longer_when_it_is_used(client, eventually, use):
    def outlives_its_expiry():
        client.queue("mail", expires=4 * SOON)
        # On a busy machine it may be used too late: then another one is.
        with suppress(NotFound):
            wait(client, eventually, 6 * SOON, meanwhile=use)
            return not gone(client)

    assert eventually(outlives_its_expiry)

    assert eventually(lambda: gone(client))


def test_a_queue_lives_as_long_as_it_has_a_consumer(client, eventually):
    inboxes = []

    def consume():
        client.queue("mail", expires=SOON)
        with suppress(NotFound):  # on a busy machine it may have expired before
            inboxes.append(client.consume())
        return inboxes

    assert eventually(consume)
    [inbox] = inboxes
    wait(client, eventually, 3 * SOON)
    assert not gone(client)

    inbox.cancel()

    assert eventually(lambda: gone(client))


def test_messages_of_an_expired_queue_are_no_dead_letters(client, eventually):
    client.queue("dead")
    client.queue("mail", expires=SOON, dead_letter_exchange="", dead_letter_routing_key="dead")
    client.publish("hello")

    assert eventually(lambda: gone(client))

    assert client.ready("dead") == 0


def test_an_expired_queue_can_be_declared_with_other_arguments(client, eventually):
    client.queue("mail", expires=SOON)
    assert eventually(lambda: gone(client))

    client.queue("mail")

    assert client.counts() == (0, 0)
