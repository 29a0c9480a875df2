"""Queues: declaration, counts, purge, deletion and exclusivity."""

import pytest
from amqp.exceptions import AccessRefused, NotFound, PreconditionFailed, ResourceLocked


def test_declaring_a_new_queue_returns_its_name_and_no_messages(client):
    declared = client.channel.queue_declare("mail", durable=True, auto_delete=False)

    assert tuple(declared) == ("mail", 0, 0)


def test_declaring_a_queue_again_returns_its_counts(client):
    client.queue("mail")
    client.publish("one", "two")
    client.consume("mail", prefetch=1).wait_for(1)

    declared = client.channel.queue_declare("mail", durable=True, auto_delete=False)

    assert tuple(declared) == ("mail", 1, 1)


def test_a_passive_declaration_of_a_missing_queue_names_it(client):
    with pytest.raises(NotFound, match="no queue 'mail'"):
        client.counts("mail")


def test_a_passive_declaration_needs_no_arguments(client):
    client.queue("mail", message_ttl=60_000, max_length=5)

    assert client.counts("mail") == (0, 0)


@pytest.mark.parametrize(
    ("name", "argument", "first", "second"),
    [
        ("x-message-ttl", "message_ttl", 1000, 2000),
        ("x-expires", "expires", 100_000, 200_000),
        ("x-max-length", "max_length", 1, None),
        ("x-max-length", "max_length", None, 1),
        ("x-max-length-bytes", "max_length_bytes", 1, 2),
        ("x-overflow", "overflow", "reject-publish", "drop-head"),
        ("x-dead-letter-exchange", "dead_letter_exchange", "", "dead"),
        ("x-dead-letter-routing-key", "dead_letter_routing_key", "a", "b"),
        ("x-max-priority", "max_priority", 3, 4),
        ("x-single-active-consumer", "single_active_consumer", True, False),
    ],
)
def test_declaring_a_queue_with_another_argument_is_refused_naming_it(client, name, argument, first, second):
    common = {"dead_letter_exchange": "dead"} if argument == "dead_letter_routing_key" else {}
    client.queue("mail", **common, **({} if first is None else {argument: first}))

    with pytest.raises(PreconditionFailed, match=f"inequivalent arg '{name}' for queue 'mail'"):
        client.queue("mail", **common, **({} if second is None else {argument: second}))


@pytest.mark.parametrize(("first", "second"), [(3, 4), (3, None), (None, 3)])
def test_declaring_a_queue_with_another_delivery_limit_is_refused_naming_it(client, first, second):
    client.queue("mail", queue_type="quorum", **({} if first is None else {"delivery_limit": first}))

    with pytest.raises(PreconditionFailed, match="inequivalent arg 'x-delivery-limit' for queue 'mail'"):
        client.queue("mail", queue_type="quorum", **({} if second is None else {"delivery_limit": second}))


@pytest.mark.parametrize("flag", ["durable", "auto_delete"])
def test_declaring_a_queue_with_another_flag_is_refused_naming_it(client, flag):
    client.queue("mail", **{flag: True})

    with pytest.raises(PreconditionFailed, match=f"inequivalent arg '{flag}' for queue 'mail'"):
        client.queue("mail", **{flag: False})


def test_numbers_of_different_types_are_equivalent(client):
    client.queue("mail", message_ttl=1000)

    client.queue("mail", message_ttl=2**40 - 2**40 + 1000)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("message_ttl", -1),
        ("message_ttl", "soon"),
        ("expires", 0),
        ("max_length", -1),
        ("max_length_bytes", "big"),
        ("max_priority", 256),
        ("overflow", "explode"),
        ("dead_letter_exchange", 7),
        ("dead_letter_routing_key", "alone"),
        ("single_active_consumer", "yes"),
    ],
)
def test_an_invalid_argument_is_refused_naming_it(client, argument, value):
    with pytest.raises(PreconditionFailed, match=f"x-{argument.replace('_', '-')}"):
        client.queue("mail", **{argument: value})


def test_the_broker_names_a_queue_that_has_no_name(client):
    first, second = client.queue(""), client.queue("")

    assert first != second
    assert first.startswith("amq.gen-")
    assert client.counts(first) == (0, 0)


def test_a_queue_without_name_is_the_one_declared_last(client):
    name = client.queue("")
    client.bind("", "amq.direct", "home")

    client.publish("hello", exchange="amq.direct", key="home")

    assert client.empty(name) == ["hello"]


def test_queue_names_that_begin_with_amq_are_the_brokers_own(client):
    with pytest.raises(AccessRefused, match=r"'amq\.mine'"):
        client.queue("amq.mine")


def test_a_queue_may_have_a_name_in_any_script(client):
    client.queue("correo ñandú 邮件")

    client.publish("hello", key="correo ñandú 邮件")

    assert client.empty("correo ñandú 邮件") == ["hello"]


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda other: other.queue("mail", exclusive=True), id="declare"),
        pytest.param(lambda other: other.counts("mail"), id="ask for"),
        pytest.param(lambda other: other.get("mail"), id="get from"),
        pytest.param(lambda other: other.consume("mail"), id="consume from"),
        pytest.param(lambda other: other.channel.queue_purge("mail"), id="purge"),
        pytest.param(lambda other: other.channel.queue_delete("mail"), id="delete"),
        pytest.param(lambda other: other.bind("mail", "amq.direct", "home"), id="bind"),
    ],
)
def test_an_exclusive_queue_is_locked_for_other_connections(client, connect, use):
    client.queue("mail", exclusive=True)

    with pytest.raises(ResourceLocked, match="'mail'"):
        use(connect())


def test_other_connections_may_publish_to_an_exclusive_queue(client, connect):
    client.queue("mail", exclusive=True)

    connect().publish("hello")

    assert client.empty() == ["hello"]


def test_an_exclusive_queue_serves_every_channel_of_its_connection(client):
    client.queue("mail", exclusive=True)

    with client.connection.channel() as channel:
        assert channel.queue_declare("mail", passive=True).message_count == 0


def test_an_exclusive_queue_goes_with_its_connection(client, connect):
    other = connect()
    other.queue("mail", exclusive=True)

    other.close()

    with pytest.raises(NotFound):
        client.counts("mail")


def test_an_auto_delete_queue_stays_until_it_had_a_consumer(client, connect):
    client.queue("mail", auto_delete=True)

    client.close()

    assert connect().counts("mail") == (0, 0)


def test_an_auto_delete_queue_goes_with_its_last_consumer(client):
    client.queue("mail", auto_delete=True)
    first, second = client.consume("mail"), client.consume("mail")

    first.cancel()
    assert client.counts("mail") == (0, 1)
    second.cancel()

    with pytest.raises(NotFound):
        client.counts("mail")


def test_an_auto_delete_queue_goes_with_the_connection_of_its_last_consumer(client, connect, eventually):
    other = connect()
    other.queue("mail", auto_delete=True)
    other.consume("mail")

    other.close()

    with pytest.raises(NotFound):
        eventually(lambda: client.counts("mail") is None)


def test_unacknowledged_messages_are_not_counted_as_ready(client):
    client.queue("mail")
    client.publish("one", "two", "three")

    client.get()

    assert client.ready() == 2


def test_purging_returns_how_many_there_were(client):
    client.queue("mail")
    client.publish("one", "two")

    assert client.channel.queue_purge("mail") == 2
    assert client.ready() == 0


def test_purging_leaves_unacknowledged_messages(client, eventually):
    client.queue("mail")
    client.publish("one", "two")
    message = client.get()

    client.channel.queue_purge("mail")
    client.requeue(message)

    assert eventually(lambda: client.ready() == 1)
    assert client.empty() == ["one"]


def test_purging_a_missing_queue_is_refused_by_name(client):
    with pytest.raises(NotFound, match="no queue 'mail'"):
        client.channel.queue_purge("mail")


def test_deleting_returns_how_many_there_were(client):
    client.queue("mail")
    client.publish("one", "two")

    assert client.channel.queue_delete("mail") == 2

    client.queue("mail")
    assert client.ready() == 0


def test_deleting_a_missing_queue_is_no_error(client):
    assert client.channel.queue_delete("mail") == 0


def test_deleting_a_queue_deletes_its_bindings(client):
    client.queue("mail")
    client.bind("mail", "amq.fanout")

    client.channel.queue_delete("mail")
    client.queue("mail")
    client.publish("hello", exchange="amq.fanout")

    assert client.ready() == 0


def test_a_queue_in_use_is_not_deleted_with_if_unused(client, connect):
    client.queue("mail")
    client.consume("mail")

    with pytest.raises(PreconditionFailed, match=r"'mail'.* in use"):
        connect().channel.queue_delete("mail", if_unused=True)

    assert connect().counts("mail") == (0, 1)


def test_a_queue_with_messages_is_not_deleted_with_if_empty(client, connect):
    client.queue("mail")
    client.publish("hello")

    with pytest.raises(PreconditionFailed, match=r"'mail'.* not empty"):
        connect().channel.queue_delete("mail", if_empty=True)

    assert client.empty() == ["hello"]


def test_an_empty_unused_queue_is_deleted_with_both_conditions(client):
    client.queue("mail")

    client.channel.queue_delete("mail", if_unused=True, if_empty=True)

    with pytest.raises(NotFound):
        client.counts("mail")


def test_a_consumer_is_cancelled_when_its_queue_is_deleted(client, connect):
    cancelled = []
    client.queue("mail")
    inbox = client.consume("mail", on_cancel=cancelled.append)

    connect().channel.queue_delete("mail")
    while not cancelled:
        client.drain(timeout=5)

    assert cancelled == [inbox.tag]


def test_messages_outlive_the_connection_that_published_them(client, connect):
    client.queue("mail")
    client.publish("hello", delivery_mode=2)

    client.close()

    assert connect().empty() == ["hello"]


def test_a_channel_error_requeues_the_messages_of_the_channel(client, connect, eventually):
    client.queue("mail")
    client.publish("one", "two")
    client.get()

    with pytest.raises(NotFound):
        client.counts("missing")

    other = connect()
    assert eventually(lambda: other.ready() == 2)
    assert [other.get().delivery_info["redelivered"] for _ in range(2)] == [True, False]


def test_the_channel_works_again_after_a_channel_error(client):
    client.queue("mail")

    with pytest.raises(NotFound):
        client.counts("missing")

    assert client.counts("mail") == (0, 0)
