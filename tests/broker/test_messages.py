"""Bodies, properties and delivery information of messages."""

import datetime as dt
from decimal import Decimal

import pytest
from kombu import Consumer, Producer, Queue


@pytest.fixture
def mail(client):
    return client.queue("mail")


@pytest.mark.usefixtures("mail")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(bytes(range(256)) * 3, id="binary"),
        pytest.param(b"x" * 3_000_000, id="large"),
    ],
)
def test_bytes_arrive_as_they_were_sent(client, body):
    client.publish(body)

    assert client.take().body == body


@pytest.mark.usefixtures("mail")
def test_an_empty_message_arrives_empty(client):
    client.publish(b"", "after it")

    assert len(client.take().body) == 0
    assert client.take().body == "after it"


@pytest.mark.usefixtures("mail")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1"])
def test_text_arrives_as_text_in_its_encoding(client, encoding):
    text = "¿Qué tal, señor Muñoz?"

    client.publish(text, content_encoding=encoding)

    message = client.take()
    assert message.body == text
    assert message.content_encoding == encoding


@pytest.mark.usefixtures("mail")
def test_every_property_arrives(client):
    properties = {
        "content_type": "text/x-mail",
        "content_encoding": "utf-8",
        "priority": 3,
        "correlation_id": "c-1",
        "reply_to": "answers",
        "message_id": "m-1",
        "type": "letter",
        "app_id": "post office",
        "timestamp": 1_795_230_005,
        "delivery_mode": 2,
    }

    client.publish("hello", **properties)

    received = client.take().properties
    assert {name: received[name] for name in properties} == properties


@pytest.mark.usefixtures("mail")
def test_properties_that_were_not_set_are_not_there(client):
    client.publish(b"hello")

    assert set(client.take().properties) <= {"application_headers"}


@pytest.mark.usefixtures("mail")
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(value, id=type(value).__name__ if not isinstance(value, int | str) else None)
        for value in [
            True,
            False,
            0,
            -1,
            2**31,
            -(2**40),
            2**62,
            1.5,
            Decimal("1.25"),
            None,
            "",
            "señor 邮件",
            "x" * 5000,
            b"\x00\xff",
            ["a", 1, None, ["b"]],
            {"a": {"b": [1, {"c": True}]}},
            dt.datetime(2026, 11, 21, 3, 0, 5),  # noqa: DTZ001 - as py-amqp has it: naive, in UTC
        ]
    ],
)
def test_a_header_arrives_as_it_was_sent(client, value):
    client.publish("hello", headers={"value": value})

    received = client.take().headers["value"]
    assert received == value
    assert type(received) is type(value)


@pytest.mark.usefixtures("mail")
def test_a_message_has_its_exchange_and_routing_key(client):
    client.bind("mail", "amq.topic", "a.#")

    client.publish("hello", exchange="amq.topic", key="a.ñ")

    info = client.take().delivery_info
    assert (info["exchange"], info["routing_key"]) == ("amq.topic", "a.ñ")


@pytest.mark.usefixtures("mail")
def test_a_message_has_its_consumer_tag(client):
    inbox = client.consume("mail", consumer_tag="postman")

    client.publish("hello")
    inbox.wait_for(1)

    assert inbox[0].delivery_info["consumer_tag"] == inbox.tag == "postman"


@pytest.mark.usefixtures("mail")
def test_messages_come_in_the_order_they_were_published(client):
    sent = [str(number) for number in range(100)]

    client.publish(*sent)

    assert client.empty() == sent


@pytest.mark.usefixtures("mail")
def test_two_publishers_on_one_queue_each_keep_their_order(client, connect):
    other = connect()

    for number in range(10):
        client.publish(f"a{number}")
        other.publish(f"b{number}")

    received = client.empty()
    assert [body for body in received if body[0] == "a"] == [f"a{number}" for number in range(10)]
    assert [body for body in received if body[0] == "b"] == [f"b{number}" for number in range(10)]


@pytest.mark.usefixtures("mail")
def test_a_published_message_is_there_for_other_connections_at_once(client, connect):
    other = connect()

    for number in range(20):
        client.publish(str(number))
        assert other.get(no_ack=True).body == str(number)


@pytest.mark.usefixtures("mail")
def test_getting_from_an_empty_queue_gives_nothing(client):
    assert client.get() is None


@pytest.mark.usefixtures("mail")
def test_basic_get_returns_how_many_are_left(client):
    client.publish("one", "two", "three")

    assert [client.get().delivery_info["message_count"] for _ in range(3)] == [2, 1, 0]


@pytest.mark.usefixtures("mail")
def test_delivery_tags_count_from_one_on_each_channel(client, connect):
    client.publish("one", "two", "three")

    assert [client.get().delivery_tag for _ in range(2)] == [1, 2]
    assert connect().get().delivery_tag == 1


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_message_published_by_kombu_arrives_unchanged(client, compression):
    payload = {"to": "señor Muñoz", "copies": [1, 2, None]}
    queue = Queue("mail", routing_key="mail")
    received = []

    Producer(client.channel).publish(payload, routing_key="mail", declare=[queue], compression=compression)
    with Consumer(client.channel, [queue], callbacks=[lambda body, message: received.append(body) or message.ack()]):
        while not received:
            client.drain(timeout=5)

    assert received == [payload]
