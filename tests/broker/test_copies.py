"""Headers ``CC`` and ``BCC``, which route one publish to several queues, and the flag ``mandatory``."""

import pytest
from amqp.exceptions import ChannelError, PreconditionFailed


@pytest.fixture
def three_queues(client):
    for queue in "abc":
        client.queue(queue)


@pytest.mark.usefixtures("three_queues")
@pytest.mark.parametrize("header", ["CC", "BCC"])
def test_a_copy_goes_to_every_key_named(client, header):
    client.publish("hello", key="a", headers={header: ["b", "c"]})

    assert [client.empty(queue) for queue in "abc"] == [["hello"]] * 3


@pytest.mark.usefixtures("three_queues")
def test_bcc_is_removed_before_delivery(client):
    client.publish("hello", key="a", headers={"BCC": ["b"], "CC": ["c"], "other": 1})

    for queue in "abc":
        assert client.take(queue).headers == {"CC": ["c"], "other": 1}


@pytest.mark.usefixtures("three_queues")
def test_a_queue_named_twice_gets_one_copy(client):
    client.publish("hello", key="a", headers={"CC": ["a", "b"], "BCC": ["b"]})

    assert client.empty("a") == ["hello"]
    assert client.empty("b") == ["hello"]


@pytest.mark.usefixtures("three_queues")
def test_copies_are_routed_by_the_exchange(client):
    client.exchange("events", "topic")
    client.bind("a", "events", "x.*")
    client.bind("b", "events", "*.y")

    client.publish("hello", exchange="events", key="nothing", headers={"BCC": ["x.1", "2.y"]})

    assert [client.empty(queue) for queue in "abc"] == [["hello"], ["hello"], []]


@pytest.mark.usefixtures("three_queues")
def test_every_copy_has_the_first_routing_key(client):
    client.publish("hello", key="a", headers={"BCC": ["b"]})

    assert client.take("b").delivery_info["routing_key"] == "a"


@pytest.mark.parametrize("header", ["CC", "BCC"])
def test_copies_that_are_no_list_are_refused(client, header):
    client.queue("mail")

    with pytest.raises(PreconditionFailed, match=header):
        client.publish("hello", headers={header: "b"})


def test_a_mandatory_message_that_no_queue_takes_raises(client):
    with pytest.raises(ChannelError, match="NO_ROUTE") as returned:
        client.publish("hello", key="nowhere", mandatory=True)

    assert returned.value.reply_code == 312


def test_a_mandatory_message_is_returned_to_a_basic_return_callback(client):
    returned = []
    client.channel.events["basic_return"].add(lambda *message: returned.append(message))

    client.publish("hello", exchange="amq.direct", key="nowhere", mandatory=True)

    [(reason, exchange, key, message)] = returned
    assert (reason.reply_code, exchange, key, message.body) == (312, "amq.direct", "nowhere", "hello")


def test_a_routed_mandatory_message_is_not_returned(client):
    client.queue("mail")

    client.publish("hello", mandatory=True)

    assert client.empty() == ["hello"]


def test_one_routed_copy_is_enough_for_a_mandatory_message(client):
    client.queue("mail")

    client.publish("hello", key="nowhere", headers={"BCC": ["mail"]}, mandatory=True)

    assert client.empty() == ["hello"]


def test_an_alternate_exchange_is_a_route_for_a_mandatory_message(client):
    client.exchange("strays", "fanout")
    client.exchange("letters", "direct", alternate_exchange="strays")
    client.queue("lost")
    client.bind("lost", "strays")

    client.publish("hello", exchange="letters", key="moon", mandatory=True)

    assert client.empty("lost") == ["hello"]
