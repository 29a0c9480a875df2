"""The worker's checks of a message: headers, body and compression, in each protocol of Celery."""

import bz2
import json
import lzma
import pickle
import zlib
from datetime import UTC, datetime

import pytest
from celery import Celery, chain, chord, group
from celery.utils.functional import maybe_list
from kombu.utils.json import loads

from framework.celery.validation import DEEPEST_NESTING, InvalidMessage, Limits, check_body, validate

GOOD = {"task": "shop.mail", "id": "4f6c", "timelimit": [None, None], "retries": 0}
BODY = [[1, "two"], {"three": 3}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
LIMITS = Limits.of(1000, ["gzip", "bzip2", "lzma", None])

app = Celery("validation", set_as_current=False)


@app.task(name="add")
def add(x, y):
    return x + y


def nested(levels, value=None):
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"timelimit": [10, 5.5]},
        {"timelimit": None},
        {"retries": 3, "group": "g", "group_index": 1, "root_id": "r", "parent_id": "p", "shadow": "alias"},
        {"expires": "2031-01-01T00:00:00", "eta": None},
        {"stamped_headers": ["customer"], "stamps": {"customer": ["7"]}},
        {"anything": {"of": ["the", "caller's"]}, "argsrepr": 5},
    ],
)
def test_headers_of_celery_and_of_other_clients_are_accepted(more):
    assert validate(GOOD | more, BODY) is None


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({"id": None}, "id"),
        ({"id": ""}, "id"),
        ({"id": 5}, "id"),
        ({"id": "x" * 256}, "id"),
        ({"task": ["a"]}, "task"),
        ({"task": None}, "task"),
        ({"task": 7}, "task"),
        ({"retries": "many"}, "retries"),
        ({"retries": -1}, "retries"),
        ({"retries": True}, "retries"),
        ({"retries": 2**40}, "retries"),
        ({"timelimit": "zz"}, "timelimit"),
        ({"timelimit": [1]}, "timelimit"),
        ({"timelimit": [-1, None]}, "timelimit"),
        ({"timelimit": [float("nan"), None]}, "timelimit"),
        ({"timelimit": [float("inf"), None]}, "timelimit"),
        ({"timelimit": ["5", None]}, "timelimit"),
        ({"eta": "tomorrow"}, "eta"),
        ({"eta": 12}, "eta"),
        ({"eta": "0001-01-01T00:00:00+14:00"}, "eta"),
        ({"expires": "2031-13-01"}, "expires"),
        ({"expires": []}, "expires"),
        ({"group": ["g"]}, "group"),
        ({"group_index": "1"}, "group_index"),
        ({"root_id": {}}, "root_id"),
        ({"shadow": ["x"]}, "shadow"),
        ({"stamped_headers": [["unhashable"]]}, "stamped_headers"),
        ({"stamps": "x"}, "stamps"),
        ({"chain": "abc"}, "chain"),
        ({"replaced_task_nesting": "deep"}, "replaced_task_nesting"),
    ],
)
def test_an_invalid_header_is_named(headers, named):
    body = [[], {}, {}]

    with pytest.raises(InvalidMessage, match=rf"^{named} ") as refused:
        validate(GOOD | headers, body)

    assert refused.value.reason == "malformed"


@pytest.mark.parametrize(
    "body",
    [
        42,
        None,
        "text",
        [],
        {},
        [1, 2],
        ["ab", {}, {}],
        [[], [], {}],
        [[], {}, 5],
        [[], {}, {"callbacks": {"task": "x"}}],
        [[], {}, {"errbacks": [5]}],
        [[], {}, {"chain": "x"}],
        [[], {}, {"chord": []}],
        [[], {}, {}, {}],
    ],
)
def test_a_body_without_a_call_is_malformed(body):
    with pytest.raises(InvalidMessage) as refused:
        validate(GOOD, body)

    assert refused.value.reason == "malformed"


def test_a_quoted_value_is_short_and_on_one_line():
    with pytest.raises(InvalidMessage) as refused:
        validate(GOOD | {"eta": "\n\x1b[2Jx" * 1000}, BODY)

    assert "\n" not in refused.value.sentence
    assert "\x1b" not in refused.value.sentence
    assert len(refused.value.sentence) < 300


@pytest.mark.parametrize("signature", [add.s(1, 2), add.si(1, 2).set(countdown=3, link=add.s(1), link_error=add.s(2))])
@pytest.mark.parametrize("protocol", [1, 2])
def test_messages_of_celery_are_accepted(signature, protocol):
    message = sent(signature, protocol)

    validate(message.headers, loads(json.dumps(message.body, default=str)))


@pytest.mark.parametrize(
    "canvas",
    [chain(add.s(n) for n in range(300)), group(add.s(n, n) for n in range(300)), chord([add.s(1, 1)], add.s(2))],
)
def test_the_parts_of_a_long_canvas_are_accepted(canvas):
    embedded = json.loads(json.dumps(dict(canvas)))

    validate(GOOD, [[], {}, {"callbacks": [embedded]}])


def sent(signature, protocol):
    as_task = app.amqp.task_protocols[protocol]
    options = dict(signature.options)
    return as_task(
        "id",
        "add",
        signature.args,
        signature.kwargs,
        countdown=options.get("countdown"),
        callbacks=maybe_list(options.get("link")),
        errbacks=maybe_list(options.get("link_error")),
    )


def test_a_hybrid_of_both_protocols_is_checked_in_both_places():
    hybrid = {"args": [1], "kwargs": {}, "retries": 0}

    assert validate({"task": "add", "id": "x"}, hybrid) is None
    with pytest.raises(InvalidMessage, match=r"^retries"):
        validate({"task": "add", "id": "x"}, hybrid | {"retries": "x"})
    with pytest.raises(InvalidMessage, match="arguments"):
        validate({"task": "add", "id": "x"}, hybrid | {"kwargs": 5})


@pytest.mark.parametrize(
    "eta",
    ["2030-05-01T12:00:00+02:00", "2030-05-01T10:00:00Z", "2030-05-01T10:00:00", datetime(2030, 5, 1, 10, tzinfo=UTC)],
)
def test_the_eta_is_returned_in_universal_time(eta):
    assert validate(GOOD | {"eta": eta}, BODY) == datetime(2030, 5, 1, 10, tzinfo=UTC)


def test_an_eta_of_protocol_1_is_in_its_body():
    body = {"task": "add", "id": "x", "args": [], "kwargs": {}, "eta": "2030-05-01T10:00:00+00:00"}

    assert validate({}, body) == datetime(2030, 5, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize("eta", ["9999-12-31T23:59:59+00:00", "2199-01-01T00:00:00+00:00"])
def test_an_eta_more_than_a_century_away_is_too_far(eta):
    with pytest.raises(InvalidMessage) as refused:
        validate(GOOD | {"eta": eta}, BODY)

    assert refused.value.reason == "too-far"


@pytest.mark.parametrize(
    ("headers", "args"),
    [
        ({}, nested(DEEPEST_NESTING + 1)),
        ({"x": nested(DEEPEST_NESTING + 1)}, []),
        ({}, [{"a": nested(DEEPEST_NESTING)}]),
    ],
)
def test_too_deep_nesting_is_malformed(headers, args):
    with pytest.raises(InvalidMessage, match="levels"):
        validate(GOOD | headers, [args, {}, {}])


def test_the_deepest_nesting_that_is_allowed_can_be_pickled_for_a_pool():
    deep = nested(DEEPEST_NESTING - 3)

    validate(GOOD, [deep, {}, {}])

    assert pickle.loads(pickle.dumps(deep)) == deep


def test_a_body_of_the_largest_size_is_accepted_and_one_byte_more_is_refused():
    check_body(b"x" * 1000, {}, LIMITS)

    with pytest.raises(InvalidMessage, match="1,001 bytes") as refused:
        check_body(b"x" * 1001, {}, LIMITS)
    assert refused.value.reason == "too-large"


@pytest.mark.parametrize("name", ["gzip", "application/x-gzip"])
def test_a_compression_in_use_is_accepted_under_each_of_its_names(name):
    check_body(zlib.compress(b"x" * 1000), {"compression": name}, LIMITS)


@pytest.mark.parametrize("name", ["brotli", "application/x-rar", 5, ["gzip"], {"a": 1}])
def test_a_compression_that_is_not_in_use_is_refused(name):
    with pytest.raises(InvalidMessage, match="task_compression") as refused:
        check_body(b"", {"compression": name}, LIMITS)

    assert refused.value.reason == "refused"


@pytest.mark.parametrize(
    ("name", "compress"), [("gzip", zlib.compress), ("bzip2", bz2.compress), ("lzma", lzma.compress)]
)
def test_a_body_is_not_decompressed_beyond_the_limit(name, compress):
    bomb = compress(b"0" * 50_000_000)

    with pytest.raises(InvalidMessage, match="more than 1,000") as refused:
        check_body(bomb, {"compression": name}, LIMITS)

    assert refused.value.reason == "too-large"


def test_a_body_that_lacks_its_declared_compression_is_undecodable():
    with pytest.raises(InvalidMessage) as refused:
        check_body(b"plain", {"compression": "gzip"}, LIMITS)

    assert refused.value.reason == "undecodable"
