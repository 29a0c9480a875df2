"""Exchanges, bindings and routing."""

import pytest
from amqp.exceptions import AccessRefused, NotFound, PreconditionFailed


def test_the_default_exchange_routes_to_the_queue_of_that_name(client):
    client.queue("mail")
    client.queue("other")

    client.publish("hello", key="mail")

    assert client.empty("mail") == ["hello"]
    assert client.empty("other") == []


def test_an_unroutable_message_is_dropped_and_confirmed(client):
    client.publish("hello", key="nowhere")

    client.queue("nowhere")
    assert client.ready("nowhere") == 0


def test_a_direct_exchange_routes_to_every_queue_bound_with_the_key(client):
    client.exchange("letters", "direct")
    for queue, key in [("a", "home"), ("b", "home"), ("c", "office")]:
        client.queue(queue)
        client.bind(queue, "letters", key)

    client.publish("hello", exchange="letters", key="home")

    assert [client.empty(queue) for queue in "abc"] == [["hello"], ["hello"], []]


def test_a_direct_exchange_has_no_wildcards(client):
    client.exchange("letters", "direct")
    client.queue("mail")
    client.bind("mail", "letters", "home.*", "#")

    client.publish("not for it", exchange="letters", key="home.kitchen")
    client.publish("for it", exchange="letters", key="home.*")

    assert client.empty() == ["for it"]


def test_a_fanout_exchange_routes_any_key_to_every_queue(client):
    client.exchange("news", "fanout")
    for queue in "ab":
        client.queue(queue)
    client.bind("a", "news", "some key")
    client.bind("b", "news")

    client.publish("hello", exchange="news", key="another")

    assert [client.empty(queue) for queue in "ab"] == [["hello"], ["hello"]]


KEYS = ["", "a", "b", "a.b", "a.b.c", "a..c", "x.b", "ab", "A.b", ".", "a."]


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        pytest.param("#", KEYS, id="hash is every key"),
        pytest.param("", [""], id="an empty pattern is the empty key"),
        pytest.param("*", ["a", "b", "ab"], id="star is one word, not none"),
        pytest.param("a.*", ["a.b", "a."], id="star is exactly one word, which may be empty"),
        pytest.param("*.b", ["a.b", "x.b", "A.b"], id="star may come first"),
        pytest.param("a.*.c", ["a.b.c", "a..c"], id="star between words"),
        pytest.param("a.#", ["a", "a.b", "a.b.c", "a..c", "a."], id="hash is any number of words, none too"),
        pytest.param("#.b", ["b", "a.b", "x.b", "A.b"], id="hash may come first"),
        pytest.param("a.#.c", ["a.b.c", "a..c"], id="hash between words"),
        pytest.param("a.#.b", ["a.b"], id="hash between words is none"),
        pytest.param("*.#", [key for key in KEYS if key], id="star and hash are at least one word"),
        pytest.param("#.#", KEYS, id="two hashes are one"),
        pytest.param("#.*", [key for key in KEYS if key], id="hash and star are at least one word"),
        pytest.param("*.*", ["a.b", "x.b", "A.b", ".", "a."], id="two stars are two words"),
        pytest.param("a*", [], id="a star within a word is a letter"),
        pytest.param("a.b", ["a.b"], id="without wildcards it is the key, in its case"),
    ],
)
def test_a_topic_exchange_matches_words(client, pattern, keys):
    client.exchange("events", "topic")
    client.queue("mail")
    client.bind("mail", "events", pattern)

    for key in KEYS:
        client.publish(f"<{key}>", exchange="events", key=key)

    assert client.empty() == [f"<{key}>" for key in keys]


def test_a_queue_bound_in_several_ways_gets_a_message_once(client):
    client.exchange("events", "topic")
    client.queue("mail")
    client.bind("mail", "events", "a.#", "#.b", "a.b")

    client.publish("hello", exchange="events", key="a.b")

    assert client.empty() == ["hello"]


def test_binding_twice_is_binding_once(client):
    client.exchange("letters")
    client.queue("mail")
    client.bind("mail", "letters", "home", "home")

    client.channel.queue_unbind("mail", "letters", "home")
    client.publish("hello", exchange="letters", key="home")

    assert client.empty() == []


def test_removing_one_binding_leaves_the_others(client):
    client.exchange("letters")
    client.queue("mail")
    client.bind("mail", "letters", "home", "office")

    client.channel.queue_unbind("mail", "letters", "home")
    client.publish("lost", exchange="letters", key="home")
    client.publish("kept", exchange="letters", key="office")

    assert client.empty() == ["kept"]


def test_removing_a_missing_binding_is_no_error(client):
    client.exchange("letters")
    client.queue("mail")

    client.channel.queue_unbind("mail", "letters", "home")

    assert client.ready() == 0


def test_publishing_to_a_missing_exchange_is_refused_by_name(client):
    with pytest.raises(NotFound, match="no exchange 'letters'"):
        client.publish("hello", exchange="letters")


def test_binding_to_a_missing_exchange_is_refused_by_name(client):
    client.queue("mail")

    with pytest.raises(NotFound, match="no exchange 'letters'"):
        client.bind("mail", "letters", "home")


def test_binding_a_missing_queue_is_refused_by_name(client):
    client.exchange("letters")

    with pytest.raises(NotFound, match="no queue 'mail'"):
        client.bind("mail", "letters", "home")


def test_an_exchange_can_feed_another(client):
    client.exchange("all", "fanout")
    client.exchange("events", "topic")
    client.queue("mail")
    client.bind("mail", "events", "a.*")
    client.channel.exchange_bind("events", "all")

    client.publish("wanted", exchange="all", key="a.b")
    client.publish("not wanted", exchange="all", key="b.a")

    assert client.empty() == ["wanted"]


def test_exchanges_that_feed_each_other_deliver_once(client):
    client.exchange("here", "fanout")
    client.exchange("there", "fanout")
    client.queue("mail")
    client.bind("mail", "here")
    client.bind("mail", "there")
    client.channel.exchange_bind("here", "there")
    client.channel.exchange_bind("there", "here")

    client.publish("hello", exchange="here")

    assert client.empty() == ["hello"]


def test_an_exchange_stops_feeding_another_when_unbound(client):
    client.exchange("all", "fanout")
    client.exchange("some", "fanout")
    client.queue("mail")
    client.bind("mail", "some")
    client.channel.exchange_bind("some", "all")

    client.channel.exchange_unbind("some", "all")
    client.publish("hello", exchange="all")

    assert client.empty() == []


def test_the_alternate_exchange_receives_unroutable_messages(client):
    client.exchange("strays", "fanout")
    client.exchange("letters", "direct", alternate_exchange="strays")
    client.queue("mail")
    client.queue("lost")
    client.bind("mail", "letters", "home")
    client.bind("lost", "strays")

    client.publish("for home", exchange="letters", key="home")
    client.publish("for nobody", exchange="letters", key="moon")

    assert client.empty("mail") == ["for home"]
    assert client.empty("lost") == ["for nobody"]


def test_an_alternate_exchange_may_have_one_itself(client):
    client.exchange("last", "fanout")
    client.exchange("second", "direct", alternate_exchange="last")
    client.exchange("first", "direct", alternate_exchange="second")
    client.queue("lost")
    client.bind("lost", "last")

    client.publish("hello", exchange="first", key="moon")

    assert client.empty("lost") == ["hello"]


def test_a_missing_alternate_exchange_drops_in_silence(client):
    client.exchange("letters", "direct", alternate_exchange="missing")

    client.publish("hello", exchange="letters", key="moon")


def test_declaring_an_exchange_again_as_it_is_changes_nothing(client):
    client.exchange("letters")
    client.queue("mail")
    client.bind("mail", "letters", "home")

    client.exchange("letters")
    client.publish("hello", exchange="letters", key="home")

    assert client.empty() == ["hello"]


def test_declaring_an_exchange_of_another_type_is_refused_naming_it(client):
    client.exchange("letters", "direct")

    with pytest.raises(PreconditionFailed, match="inequivalent arg 'type' for exchange 'letters'"):
        client.exchange("letters", "fanout")


def test_declaring_an_exchange_with_another_alternate_is_refused_naming_it(client):
    client.exchange("letters", "direct", alternate_exchange="strays")

    with pytest.raises(PreconditionFailed, match="inequivalent arg 'alternate-exchange' for exchange 'letters'"):
        client.exchange("letters", "direct")


def test_a_passive_declaration_of_a_missing_exchange_names_it(client):
    with pytest.raises(NotFound, match="no exchange 'letters'"):
        client.channel.exchange_declare("letters", "direct", passive=True)


def test_a_passive_declaration_finds_an_exchange_of_any_type(client):
    client.exchange("letters", "fanout")

    client.channel.exchange_declare("letters", "direct", passive=True)


def test_a_deleted_exchange_is_gone_with_its_bindings(client):
    client.exchange("letters")
    client.queue("mail")
    client.bind("mail", "letters", "home")

    client.channel.exchange_delete("letters")
    client.exchange("letters")
    client.publish("hello", exchange="letters", key="home")

    assert client.empty() == []


def test_deleting_a_missing_exchange_is_no_error(client):
    client.channel.exchange_delete("letters")


def test_an_exchange_in_use_is_not_deleted_with_if_unused(client):
    client.exchange("letters")
    client.queue("mail")
    client.bind("mail", "letters", "home")

    with pytest.raises(PreconditionFailed, match=r"exchange 'letters'.* in use"):
        client.channel.exchange_delete("letters", if_unused=True)


def test_an_auto_delete_exchange_goes_with_its_last_binding(client):
    client.exchange("letters", auto_delete=True)
    client.queue("mail")
    client.bind("mail", "letters", "home", "office")

    client.channel.queue_unbind("mail", "letters", "home")
    client.channel.exchange_declare("letters", "direct", passive=True)
    client.channel.queue_unbind("mail", "letters", "office")

    with pytest.raises(NotFound):
        client.channel.exchange_declare("letters", "direct", passive=True)


def test_an_auto_delete_exchange_goes_with_its_last_queue(client):
    client.exchange("letters", auto_delete=True)
    client.queue("mail")
    client.bind("mail", "letters", "home")

    client.channel.queue_delete("mail")

    with pytest.raises(NotFound):
        client.channel.exchange_declare("letters", "direct", passive=True)


@pytest.mark.parametrize("kind", ["direct", "topic", "fanout"])
def test_every_broker_has_an_exchange_of_each_type(client, kind):
    client.queue("mail")
    client.bind("mail", f"amq.{kind}", "mail")

    client.publish("hello", exchange=f"amq.{kind}")

    assert client.empty() == ["hello"]


def test_names_that_begin_with_amq_are_the_brokers_own(client):
    with pytest.raises(AccessRefused, match=r"'amq\.mine'"):
        client.exchange("amq.mine")


def test_nothing_can_be_bound_to_the_default_exchange(client):
    client.queue("mail")

    with pytest.raises(AccessRefused, match="default exchange"):
        client.bind("mail", "", "home")


def test_the_default_exchange_cannot_be_deleted(client):
    with pytest.raises(AccessRefused):
        client.channel.exchange_delete("")
