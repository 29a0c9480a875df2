"""Consumers: prefetch counts, cancellation, exclusivity, and the order in which they receive messages."""

from itertools import chain

import pytest
from amqp.exceptions import AccessRefused, NotAllowed, NotFound


@pytest.fixture(autouse=True)
def mail(client):
    client.queue("mail")


def test_a_consumer_receives_ready_and_new_messages(client):
    client.publish("before")
    inbox = client.consume()

    client.publish("after")

    assert inbox.wait_for(2) == ["before", "after"]


def test_a_waiting_consumer_receives_what_another_connection_publishes(client, connect):
    inbox = client.consume()

    connect().publish("hello")

    assert inbox.wait_for(1) == ["hello"]


def test_draining_an_empty_queue_times_out(client):
    client.consume()

    with pytest.raises(TimeoutError):
        client.connection.drain_events(timeout=0.05)


def test_a_consumer_without_acks_empties_the_queue(client, connect):
    client.publish("one", "two")

    client.consume(no_ack=True).wait_for(2)
    client.close()

    assert connect().ready() == 0


def test_the_prefetch_count_is_how_many_a_consumer_holds(client):
    client.publish("one", "two", "three")

    inbox = client.consume(prefetch=2)

    inbox.wait_for(2)
    assert inbox.after_a_while() == ["one", "two"]
    assert client.ready() == 1


@pytest.mark.parametrize("method", ["ack", "reject", "requeue"])
def test_acknowledging_one_delivers_the_next(client, method):
    client.publish("one", "two")
    inbox = client.consume(prefetch=1)
    inbox.wait_for(1)

    getattr(client, method)(inbox[0])

    assert inbox.wait_for(2) == ["one", "one" if method == "requeue" else "two"]
    assert inbox.after_a_while() == inbox.bodies[:2]


def test_acknowledging_several_delivers_as_many(client):
    client.publish("one", "two", "three", "four", "five")
    inbox = client.consume(prefetch=3)
    inbox.wait_for(3)

    client.ack(inbox[1], multiple=True)

    inbox.wait_for(5)
    assert inbox.after_a_while() == ["one", "two", "three", "four", "five"]


def test_a_prefetch_count_of_zero_is_no_limit(client):
    client.publish(*"abcdefgh")

    assert client.consume(prefetch=0).wait_for(8) == [*"abcdefgh"]


def test_each_consumer_has_a_separate_prefetch_count(client):
    client.publish(*"abcdef")

    first, second = client.consume(prefetch=2), client.consume(prefetch=3)

    first.wait_for(2)
    second.wait_for(3)
    second.after_a_while()
    assert (len(first), len(second)) == (2, 3)


def test_a_new_prefetch_count_is_for_new_consumers(client):
    client.publish(*"abcdef")
    first = client.consume(prefetch=2)
    first.wait_for(2)

    client.channel.basic_qos(0, 4, False)

    assert first.after_a_while() == ["a", "b"]


@pytest.fixture
def global_prefetch(client):
    if client.release >= (4, 3):
        pytest.skip("RabbitMQ 4.3 takes a global prefetch count for one of each consumer")


@pytest.mark.usefixtures("global_prefetch")
def test_a_global_prefetch_count_is_how_many_the_channel_holds(client):
    client.publish(*"abcdef")
    client.channel.basic_qos(0, 3, True)

    first, second = client.consume(), client.consume()

    while len(first) + len(second) < 3:
        client.drain(timeout=5)
    first.after_a_while()
    assert len(first) + len(second) == 3
    assert client.ready() == 3


@pytest.mark.usefixtures("global_prefetch")
def test_a_global_prefetch_count_can_grow_while_consumers_wait(client):
    client.publish(*"abcdef")
    client.channel.basic_qos(0, 2, True)
    inbox = client.consume()
    inbox.wait_for(2)

    client.channel.basic_qos(0, 4, True)

    inbox.wait_for(4)
    assert inbox.after_a_while() == [*"abcd"]


@pytest.mark.usefixtures("global_prefetch")
@pytest.mark.parametrize("method", ["ack", "reject"])
def test_a_message_that_leaves_the_channel_lets_another_queue_deliver_one(client, method):
    client.queue("other")
    client.channel.basic_qos(0, 1, True)
    inbox, other = client.consume(), client.consume("other")
    client.publish("one")
    inbox.wait_for(1)
    client.publish("two", key="other")

    getattr(client, method)(inbox[0])

    assert other.wait_for(1) == ["two"]


def test_messages_of_basic_get_do_not_count_for_the_prefetch_count(client):
    client.publish("one", "two")
    client.get()

    assert client.consume(prefetch=1).wait_for(1) == ["two"]


def test_consumers_without_acks_have_no_prefetch_count(client):
    client.publish(*"abcd")

    assert client.consume(prefetch=1, no_ack=True).wait_for(4) == [*"abcd"]


def test_consumers_take_turns(client, connect):
    inboxes = [connect().consume(prefetch=10) for _ in range(3)]

    client.publish(*"abcdef")

    for inbox in inboxes:
        inbox.wait_for(2)
    assert sorted(chain.from_iterable(inbox.after_a_while() for inbox in inboxes)) == [*"abcdef"]
    assert [len(inbox) for inbox in inboxes] == [2, 2, 2]


def test_every_waiting_consumer_receives_a_message(client, connect):
    inboxes = [connect().consume(prefetch=1) for _ in range(3)]

    client.publish("a", "b", "c")

    assert sorted(chain.from_iterable(inbox.wait_for(1) for inbox in inboxes)) == ["a", "b", "c"]


def test_a_busy_consumer_is_passed_over(client, connect):
    busy = connect().consume(prefetch=1)
    client.publish("a")
    busy.wait_for(1)
    idle = connect().consume(prefetch=10)

    client.publish(*"bcd")

    assert idle.wait_for(3) == [*"bcd"]
    assert busy.after_a_while() == ["a"]


def test_a_message_requeued_by_one_consumer_goes_to_another(client, connect):
    client.publish("hello")
    first = client.consume(prefetch=1)
    first.wait_for(1)
    second = connect().consume(prefetch=1)

    client.close()

    assert second.wait_for(1) == ["hello"]
    assert second[0].delivery_info["redelivered"]


def test_a_cancelled_consumer_receives_no_more(client):
    inbox = client.consume()
    client.publish("one")
    inbox.wait_for(1)

    inbox.cancel()
    client.publish("two")

    assert inbox.after_a_while() == ["one"]
    assert client.counts() == (1, 0)


def test_deliveries_of_a_cancelled_consumer_can_still_be_acked(client, connect):
    client.publish("one")
    inbox = client.consume()
    inbox.wait_for(1)

    inbox.cancel()
    assert client.ready() == 0
    client.ack(inbox[0])
    client.close()

    assert connect().ready() == 0


def test_cancelling_a_consumer_twice_is_no_error(client):
    inbox = client.consume()

    inbox.cancel()
    inbox.cancel()

    assert client.counts() == (0, 0)


def test_the_broker_names_a_consumer_that_has_no_name(client):
    first, second = client.consume(), client.consume()

    assert first.tag.startswith("amq.ctag-")
    assert first.tag != second.tag


def test_two_consumers_of_one_name_are_refused(client):
    client.consume(consumer_tag="postman")

    with pytest.raises(NotAllowed, match="attempt to reuse consumer tag 'postman'") as refused:
        client.consume(consumer_tag="postman")

    assert refused.value.reply_code == 530


def test_two_channels_may_have_consumers_of_one_name(client, connect):
    client.consume(consumer_tag="postman")
    connect().consume(consumer_tag="postman")

    assert client.counts() == (0, 2)


def test_consuming_from_a_missing_queue_is_refused_by_name(client):
    with pytest.raises(NotFound, match="no queue 'missing'"):
        client.consume("missing")


def test_an_exclusive_consumer_is_the_only_one(client, connect):
    client.consume(exclusive=True)

    with pytest.raises(AccessRefused, match=r"'mail'.* exclusive"):
        connect().consume()


def test_a_consumer_cannot_be_exclusive_beside_another(client, connect):
    client.consume()

    with pytest.raises(AccessRefused, match=r"'mail'.* exclusive"):
        connect().consume(exclusive=True)


def test_a_consumer_may_follow_an_exclusive_one(client, connect):
    client.consume(exclusive=True).cancel()

    connect().publish("hello")

    assert connect().consume().wait_for(1) == ["hello"]


def test_the_consumer_of_higher_priority_is_served_first(client, connect):
    low = connect().consume(prefetch=10)
    high = connect().consume(prefetch=2, arguments={"x-priority": 10})

    client.publish(*"abcd")

    assert high.wait_for(2) == ["a", "b"]
    assert low.wait_for(2) == ["c", "d"]


def test_one_connection_can_consume_several_queues(client):
    client.queue("other")
    mail, other = client.consume("mail"), client.consume("other")

    client.publish("for other", key="other")
    client.publish("for mail", key="mail")

    assert mail.wait_for(1) == ["for mail"]
    assert other.wait_for(1) == ["for other"]
