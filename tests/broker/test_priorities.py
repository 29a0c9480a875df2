"""Queues with priorities."""

import pytest
from amqp.exceptions import PreconditionFailed


@pytest.fixture
def mail(client):
    client.queue("mail", max_priority=5)


@pytest.mark.usefixtures("mail")
def test_the_most_urgent_comes_first(client):
    for priority in (1, 5, 3):
        client.publish(str(priority), priority=priority)

    assert client.empty() == ["5", "3", "1"]


@pytest.mark.usefixtures("mail")
def test_equally_urgent_messages_keep_their_order(client):
    client.publish("a", "b", priority=1)
    client.publish("c", "d", priority=4)
    client.publish("e", priority=1)

    assert client.empty() == ["c", "d", "a", "b", "e"]


@pytest.mark.usefixtures("mail")
def test_without_a_priority_a_message_is_the_least_urgent(client):
    client.publish("none")
    client.publish("zero", priority=0)
    client.publish("one", priority=1)

    assert client.empty() == ["one", "none", "zero"]


@pytest.mark.usefixtures("mail")
def test_a_priority_above_the_maximum_is_the_maximum(client):
    client.publish("five", priority=5)
    client.publish("nine", priority=9)
    client.publish("four", priority=4)

    messages = [client.get() for _ in range(3)]

    assert [message.body for message in messages] == ["five", "nine", "four"]
    assert messages[1].properties["priority"] == 9


@pytest.mark.usefixtures("mail")
def test_a_requeued_message_has_its_priority(client):
    client.publish("a", "b", priority=3)
    message = client.get()
    client.publish("urgent", priority=5)

    client.requeue(message)

    assert [client.take().body for _ in range(3)] == ["urgent", "a", "b"]


@pytest.mark.usefixtures("mail")
def test_a_consumer_receives_the_most_urgent_next(client):
    client.publish("first", priority=1)
    inbox = client.consume(prefetch=1)
    inbox.wait_for(1)
    client.publish("calm", priority=1)
    client.publish("urgent", priority=5)

    client.ack(inbox[0])

    assert inbox.wait_for(2) == ["first", "urgent"]


@pytest.mark.usefixtures("mail")
def test_an_expired_message_behind_a_more_urgent_one_goes_when_it_is_first(client, eventually):
    client.publish("urgent", priority=5)
    client.publish("calm", priority=1, expiration="20")
    client.queue("clock", message_ttl=60)
    client.publish("tick", key="clock")
    assert eventually(lambda: client.ready("clock") == 0)
    assert client.ready() == 2

    assert client.empty() == ["urgent"]


def test_a_queue_without_priorities_keeps_the_order(client):
    client.queue("mail")

    client.publish("one", priority=1)
    client.publish("nine", priority=9)

    assert client.empty() == ["one", "nine"]


def test_a_full_queue_drops_its_first_which_is_the_most_urgent(client):
    client.queue("mail", max_priority=5, max_length=2)

    client.publish("urgent", priority=5)
    client.publish("calm", priority=1)
    client.publish("middling", priority=3)

    assert client.empty() == ["middling", "calm"]


def test_a_queue_has_255_priorities_at_most(client):
    client.queue("urgent", max_priority=255)
    client.publish("least", key="urgent", priority=0)
    client.publish("most", key="urgent", priority=255)

    assert client.empty("urgent") == ["most", "least"]
    with pytest.raises(PreconditionFailed):
        client.queue("more", max_priority=256)
