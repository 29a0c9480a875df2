"""Dead letters: their routing, and their ``x-death`` headers."""

from datetime import datetime

import pytest
from amqp.exceptions import MessageNacked

from framework.testing.rabbitmq import RabbitMQ


@pytest.fixture
def dead(client):
    """The queue for the dead letters of ``mail``."""
    client.exchange("dead letters", "topic")
    client.queue("dead")
    client.bind("dead", "dead letters", "#")
    return {"dead_letter_exchange": "dead letters"}


def deaths(message):
    """Check the times of ``x-death``, and return it without them."""
    recorded = message.headers["x-death"]
    assert all(isinstance(death["time"], datetime) for death in recorded)
    return [{name: value for name, value in death.items() if name != "time"} for death in recorded]


def firsts(message):
    return {name: value for name, value in message.headers.items() if name.startswith("x-first-death-")}


def test_a_rejected_message_has_an_x_death_header(client, dead):
    client.queue("mail", **dead)
    client.publish("hello", headers={"mine": 1})

    client.reject(client.get())

    message = client.take("dead")
    assert message.body == "hello"
    assert message.headers["mine"] == 1
    assert deaths(message) == [
        {"count": 1, "reason": "rejected", "queue": "mail", "exchange": "", "routing-keys": ["mail"]}
    ]
    assert firsts(message) == {
        "x-first-death-reason": "rejected",
        "x-first-death-queue": "mail",
        "x-first-death-exchange": "",
    }


def test_an_expired_message_has_an_x_death_header(client, dead):
    client.queue("mail", message_ttl=30, **dead)
    client.publish("hello")

    message = client.take("dead")

    assert deaths(message) == [
        {"count": 1, "reason": "expired", "queue": "mail", "exchange": "", "routing-keys": ["mail"]}
    ]


def test_a_message_with_its_own_ttl_records_it_and_loses_its_expiration(client, dead):
    client.queue("mail", **dead)
    client.publish("hello", expiration="30")

    message = client.take("dead")

    [death] = deaths(message)
    assert (death["reason"], death["original-expiration"]) == ("expired", "30")
    assert "expiration" not in message.properties


def test_a_rejected_message_loses_its_expiration(client, dead):
    client.queue("mail", **dead)
    client.publish("hello", expiration="60000")

    client.reject(client.get())

    message = client.take("dead")
    assert deaths(message)[0]["original-expiration"] == "60000"
    assert "expiration" not in message.properties


def test_a_message_with_ttl_0_is_dead_lettered_at_once(client, dead):
    client.queue("mail", **dead)

    client.publish("hello", expiration="0")

    assert deaths(client.take("dead"))[0]["reason"] == "expired"


def test_a_message_dropped_by_a_full_queue_has_an_x_death_header(client, dead):
    client.queue("mail", max_length=1, **dead)
    client.publish("one", "two")

    message = client.take("dead")

    assert message.body == "one"
    assert deaths(message) == [
        {"count": 1, "reason": "maxlen", "queue": "mail", "exchange": "", "routing-keys": ["mail"]}
    ]


def test_a_refused_message_is_no_dead_letter(client, dead):
    client.queue("mail", max_length=1, overflow="reject-publish", **dead)
    client.publish("one")

    with pytest.raises(MessageNacked):
        client.publish("two")

    assert client.ready("dead") == 0


def test_a_refused_message_may_be_a_dead_letter_too(client, dead):
    client.queue("mail", max_length=1, overflow="reject-publish-dlx", **dead)
    client.publish("one")

    with pytest.raises(MessageNacked):
        client.publish("two")

    message = client.take("dead")
    assert message.body == "two"
    assert deaths(message)[0]["reason"] == "maxlen"


def test_x_death_has_the_exchange_and_key_of_the_publisher(client, dead):
    client.queue("mail", **dead)
    client.bind("mail", "amq.topic", "a.*")
    client.publish("hello", exchange="amq.topic", key="a.b")

    client.reject(client.get())

    message = client.take("dead")
    assert (deaths(message)[0]["exchange"], deaths(message)[0]["routing-keys"]) == ("amq.topic", ["a.b"])
    assert (message.delivery_info["exchange"], message.delivery_info["routing_key"]) == ("dead letters", "a.b")


def test_a_queue_may_give_its_dead_letters_another_key(client, dead):
    client.queue("mail", dead_letter_routing_key="died.of.mail", **dead)
    client.publish("hello")

    client.reject(client.get())

    message = client.take("dead")
    assert message.delivery_info["routing_key"] == "died.of.mail"
    assert deaths(message)[0]["routing-keys"] == ["mail"]


def test_dead_letters_may_go_directly_to_a_queue(client):
    client.queue("dead")
    client.queue("mail", dead_letter_exchange="", dead_letter_routing_key="dead")
    client.publish("hello")

    client.reject(client.get())

    assert client.take("dead").body == "hello"


def test_dead_letters_may_go_to_several_queues(client, dead):
    client.queue("archive")
    client.bind("archive", "dead letters", "mail")
    client.queue("mail", **dead)
    client.publish("hello")

    client.reject(client.get())

    assert client.take("dead").body == client.take("archive").body == "hello"


def test_without_a_dead_letter_exchange_a_message_is_deleted(client, dead):
    client.queue("mail")
    client.publish("hello")

    client.reject(client.get())

    assert client.ready() == client.ready("dead") == 0


def test_a_missing_dead_letter_exchange_is_no_error(client):
    client.queue("mail", dead_letter_exchange="missing")
    client.publish("one", "two")

    client.reject(client.get())

    assert client.empty() == ["two"]


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(lambda client, message: client.ack(message), id="acked"),
        pytest.param(lambda client, message: client.requeue(message), id="requeued"),
        pytest.param(lambda client, message: client.channel.queue_purge("mail"), id="purged"),
        pytest.param(lambda client, message: client.channel.queue_delete("mail"), id="deleted with its queue"),
    ],
)
def test_acked_requeued_and_deleted_messages_are_no_dead_letters(client, dead, operation):
    client.queue("mail", **dead)
    client.publish("one", "two")

    operation(client, client.get())

    client.queue("other", **dead)
    client.publish("dies", key="other", expiration="0")
    assert client.take("dead").body == "dies"
    assert client.ready("dead") == 0


def test_a_dead_letter_is_not_marked_as_redelivered_before_rabbitmq_4_3(client, dead):
    client.queue("mail", **dead)
    client.publish("hello", correlation_id="c-1", delivery_mode=2, priority=4)

    client.requeue(client.get())
    client.reject(client.take())

    message = client.take("dead")
    assert message.delivery_info["redelivered"] == (client.release >= (4, 3))
    assert message.properties["correlation_id"] == "c-1"
    assert message.properties["priority"] == 4


def test_dead_letters_keep_their_order(client, dead):
    client.queue("mail", **dead)
    client.publish("one", "two", "three")
    messages = [client.get() for _ in range(3)]

    for message in messages:
        client.reject(message)

    assert [client.take("dead").body for _ in range(3)] == ["one", "two", "three"]


def test_a_death_of_the_same_kind_is_counted_and_the_latest_comes_first(client):
    # given a queue whose rejected messages return after a short delay
    client.queue("mail", dead_letter_exchange="", dead_letter_routing_key="wait")
    client.queue("wait", message_ttl=20, dead_letter_exchange="", dead_letter_routing_key="mail")
    client.publish("hello")

    # when it is rejected three times
    for _ in range(3):
        client.reject(client.take("mail"))
    message = client.take("mail")

    # then x-death has one entry per kind, with its count
    assert [(death["queue"], death["reason"], death["count"]) for death in deaths(message)] == [
        ("wait", "expired", 3),
        ("mail", "rejected", 3),
    ]
    assert firsts(message)["x-first-death-queue"] == "mail"
    assert firsts(message)["x-first-death-reason"] == "rejected"


def test_x_death_lists_several_queues_the_latest_first(client):
    client.queue("c")
    client.queue("b", message_ttl=10, dead_letter_exchange="", dead_letter_routing_key="c")
    client.queue("a", max_length=1, dead_letter_exchange="", dead_letter_routing_key="b")
    client.publish("hello", "pushes it out", key="a")

    message = client.take("c")

    assert [(death["queue"], death["reason"]) for death in deaths(message)] == [("b", "expired"), ("a", "maxlen")]
    assert firsts(message)["x-first-death-queue"] == "a"


def test_x_death_has_an_entry_for_each_reason_of_one_queue(client):
    client.queue("mail", message_ttl=300, dead_letter_exchange="", dead_letter_routing_key="back")
    client.queue("back", dead_letter_exchange="", dead_letter_routing_key="mail")
    client.publish("hello")
    expired = client.take("back")

    # A consumer that waits receives the message before it expires again.
    inbox = client.consume("mail")
    client.reject(expired)
    inbox.wait_for(1)
    client.reject(inbox[0])

    kinds = {(death["queue"], death["reason"], death["count"]) for death in deaths(client.take("back"))}
    assert kinds == {("mail", "expired", 1), ("back", "rejected", 1), ("mail", "rejected", 1)}


def test_a_cycle_with_a_rejection_in_it_continues(client):
    client.queue("work", dead_letter_exchange="", dead_letter_routing_key="wait")
    client.queue("wait", message_ttl=1, dead_letter_exchange="", dead_letter_routing_key="work")
    client.publish("hello", key="work")

    for _ in range(10):
        client.reject(client.take("work"))

    assert client.take("work").headers["x-death"][0]["count"] == 10


def test_a_message_that_expires_in_a_cycle_is_dropped(client, eventually):
    client.queue("here", message_ttl=20, dead_letter_exchange="", dead_letter_routing_key="there")
    client.queue("there", message_ttl=20, dead_letter_exchange="", dead_letter_routing_key="here")
    client.queue("clock", message_ttl=200)

    def is_nowhere_while_the_clock_ticks():
        seen = client.ready("here") + client.ready("there")
        client.publish("tick", key="clock")
        while client.ready("clock"):
            seen += client.ready("here") + client.ready("there")
        return seen == 0

    client.publish("hello", key="here")

    assert eventually(is_nowhere_while_the_clock_ticks)


def test_a_message_dead_lettered_into_its_own_full_queue_is_dropped(client):
    client.queue("mail", max_length=1, dead_letter_exchange="", dead_letter_routing_key="mail")

    client.publish("one", "two")

    assert client.empty() == ["two"]


def test_x_death_has_the_keys_of_cc_and_not_of_bcc(client, dead):
    client.queue("mail", **dead)
    client.publish("hello", headers={"CC": ["open"], "BCC": ["blind"]})

    client.reject(client.get())

    message = client.take("dead")
    assert deaths(message)[0]["routing-keys"] == ["mail", "open"]
    assert "BCC" not in message.headers


def test_a_dead_letter_with_its_old_keys_is_routed_by_cc_too(client):
    client.exchange("dead letters", "direct")
    for queue in ("first", "second"):
        client.queue(queue)
        client.bind(queue, "dead letters", queue)
    client.queue("mail", dead_letter_exchange="dead letters")
    client.bind("mail", "amq.direct", "first")

    client.publish("hello", exchange="amq.direct", key="first", headers={"CC": ["second"]})
    client.reject(client.get())

    assert client.take("first").body == client.take("second").body == "hello"


def test_a_consumer_receives_dead_letters_as_they_come(client, dead):
    client.queue("mail", message_ttl=20, **dead)
    inbox = client.consume("dead")

    client.publish("one", "two")

    assert inbox.wait_for(2) == ["one", "two"]


@pytest.fixture
def safe(request, broker, client):
    """The arguments of a queue that deletes a dead letter only when another queue has it."""
    if broker == "rabbitmq":
        server = request.getfixturevalue("rabbitmq")
        if not isinstance(server, RabbitMQ):
            pytest.skip("an external RabbitMQ retries after three minutes")
        server.ctl("eval", "application:set_env(rabbit, dead_letter_worker_publisher_confirm_timeout, 1000).")
    client.exchange("dead letters", "topic")
    return {
        "queue_type": "quorum",
        "overflow": "reject-publish",
        "dead_letter_exchange": "dead letters",
        "dead_letter_strategy": "at-least-once",
    }


def test_a_dead_letter_that_no_queue_takes_is_stored_until_one_does(client, safe):
    client.queue("mail", **safe)
    client.publish("hello")
    client.reject(client.take())
    assert client.ready("mail") == 0

    client.queue("dead")
    client.bind("dead", "dead letters", "#")

    message = client.take("dead")
    assert message.body == "hello"
    assert [death["reason"] for death in deaths(message)] == ["rejected"]


def test_a_dead_letter_for_a_full_queue_is_stored_until_the_queue_has_space(client, safe):
    client.queue("dead", max_length=1, overflow="reject-publish")
    client.bind("dead", "dead letters", "#")
    client.queue("mail", **safe)
    client.publish("first", "second")
    client.reject(client.take())
    assert client.take("dead", no_ack=True).body == "first"
    client.publish("third", key="dead")

    client.reject(client.take())
    client.ack(client.take("dead"))

    assert client.take("dead").body == "second"


def test_a_full_queue_keeps_no_dead_letter_from_the_others(client, safe):
    for queue in ("dead", "full"):
        client.queue(queue, max_length=1, overflow="reject-publish")
        client.bind(queue, "dead letters", "#")
    client.publish("filling", key="full")
    client.queue("mail", **safe)
    client.publish("hello")

    client.reject(client.take())

    assert client.take("dead", no_ack=True).body == "hello"
    assert client.take("full", no_ack=True).body == "filling"
    assert client.take("full", no_ack=True).body == "hello"
    assert client.get("dead") is None


def test_a_dead_letter_that_no_queue_takes_outlives_the_connection(client, safe, connect):
    client.queue("mail", **safe)
    client.publish("hello")
    client.reject(client.take())
    client.close()

    other = connect()
    other.queue("dead")
    other.bind("dead", "dead letters", "#")

    assert other.take("dead").body == "hello"
