"""Single active consumer: one consumer receives messages, the others wait."""

import pytest


@pytest.fixture(params=["classic", "quorum"], autouse=True)
def mail(request, client):
    client.queue("mail", queue_type=request.param, single_active_consumer=True)


def test_only_the_first_consumer_receives_messages(client, connect):
    first, second = connect().consume(prefetch=10), connect().consume(prefetch=10)

    client.publish("one", "two", "three")

    assert first.wait_for(3) == ["one", "two", "three"]
    assert second.after_a_while() == []


def test_a_busy_first_consumer_is_not_replaced_by_the_second(client, connect):
    first, second = connect().consume(prefetch=1), connect().consume(prefetch=1)

    client.publish("one", "two")

    assert first.wait_for(1) == ["one"]
    assert second.after_a_while() == []


def test_the_others_follow_in_the_order_they_came(client, connect):
    inboxes = [connect().consume(prefetch=1) for _ in range(3)]

    for turn, inbox in enumerate(inboxes):
        client.publish(f"turn {turn}")
        assert inbox.wait_for(1) == [f"turn {turn}"]
        inbox.client.ack(inbox[0])
        inbox.cancel()

    assert [len(inbox) for inbox in inboxes] == [1, 1, 1]


def test_the_messages_of_a_lost_first_consumer_go_to_the_second_in_order(client, connect):
    first = connect().consume(prefetch=2)
    client.publish("one", "two", "three")
    first.wait_for(2)
    second = connect().consume(prefetch=10)

    first.client.connection.collect()

    assert second.wait_for(3) == ["one", "two", "three"]


def test_a_cancelled_first_consumer_keeps_its_messages(client, connect):
    # a classic queue of RabbitMQ 3.10 dies when it is published to while a cancelled first left something ready
    client.queue("safe", queue_type="quorum", single_active_consumer=True)
    first = connect().consume("safe", prefetch=1)
    client.publish("one", "two", key="safe")
    first.wait_for(1)
    second = connect().consume("safe", prefetch=10)

    first.cancel()

    assert second.wait_for(1) == ["two"]
    first.client.requeue(first[0])
    assert second.wait_for(2) == ["two", "one"]


def test_a_consumer_that_returns_is_the_last(client, connect):
    first, second = connect().consume(prefetch=10), connect().consume(prefetch=10)
    first.cancel()
    again = first.client.consume(prefetch=10)

    client.publish("hello")

    assert second.wait_for(1) == ["hello"]
    assert again.after_a_while() == []
