"""Keys of limits and unique tasks: different keys are never counted together (A8)."""

from enum import Enum, IntEnum, StrEnum
from ipaddress import ip_address, ip_network
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from framework.errors import BadKey
from framework.limits.key import digest, normalize

scalars = st.one_of(
    st.text(min_size=1),
    st.integers(),
    st.booleans(),
    st.uuids(),
    st.ip_addresses(),
)
keys = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)


class Site(StrEnum):
    MAIN = "main"


class Shop(str, Enum):  # noqa: UP042, its str() is another than StrEnum's
    MAIN = "main"


class Number(IntEnum):
    ONE = 1


def as_sent(key):
    """Return a key so that Python compares it by type, too: True == 1 otherwise."""
    return [as_sent(each) for each in key] if isinstance(key, tuple) else (type(key).__name__, key)


@given(keys, keys)
@example("5", 5)
@example("int:5", 5)
@example("str:5", "5")
@example(("a\0x", "1"), ("a", "x\0001"))
@example(("a", "b"), ("a,b",))
@example(("a", ("b",)), ("a", "b"))
@example((("a",), "b"), ("a", ("b",)))
@example(("1:a",), ("a",))
@example("2001:db8::1", "2001:db8::2")
@example("192.0.2.7", ip_address("192.0.2.7"))
@example(ip_address("::ffff:192.0.2.7"), ip_address("192.0.2.7"))
@example("\ud83d\ude00", "\U0001f600")
@example((), "tuple:")
def test_two_different_keys_never_merge(one, other):
    assert (digest(normalize(one)) == digest(normalize(other))) == (as_sent(one) == as_sent(other))


@given(st.lists(st.text()), st.lists(st.text()))
@example(["a\0b"], ["a", "b"])
@example(["1:a"], ["", "a"])
@example(["ab", "c"], ["a", "bc"])
def test_the_names_of_two_limits_never_merge(one, other):
    assert (digest(*one) == digest(*other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", 1), ["a", 1]),
        (Site.MAIN, "main"),
        (Shop.MAIN, "main"),
        (Number.ONE, 1),
    ],
)
def test_what_a_task_receives_as_one_value_is_one_key(one, other):
    assert normalize(one) == normalize(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"),
        ("2001:db8::1%eth0", "[2001:DB8::1]"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        (ip_address("192.0.2.7"), "192.0.2.7"),
        (ip_address("2001:db8::1"), "2001:db8::2"),
    ],
)
def test_one_visitor_has_one_address(one, other):
    assert normalize(one, address=True) == normalize(other, address=True)


@pytest.mark.parametrize(
    ("one", "other"),
    [("2001:db8:1:2::1", "2001:db8:1:3::1"), ("192.0.2.7", "192.0.2.8"), ("::192.0.2.7", "192.0.2.7")],
)
def test_two_visitors_have_two_addresses(one, other):
    assert normalize(one, address=True) != normalize(other, address=True)


def test_an_address_is_never_another_limits_text():
    assert normalize("192.0.2.7", address=True) != normalize("192.0.2.7")


@pytest.mark.parametrize("value", ["Ann", "192.0.2.7:8000", "1.2.3", "", 5, True, ("192.0.2.7",), None, UUID(int=1)])
def test_a_value_that_is_no_address_is_refused_where_the_limit_says_that_its_key_is_one(value):
    with pytest.raises(BadKey) as refused:
        normalize(value, address=True)

    assert "192.0.2.7" not in refused.value.message


def test_a_network_may_be_a_part_of_a_key():
    network = ip_network(("2001:db8::1", 64), strict=False)

    assert normalize(("form", network)) != normalize(("form", str(network)))


@pytest.mark.parametrize("value", [None, "", object(), {"a": 1}, ("a", None), 1.5, b"a"])
def test_a_value_that_is_no_key_is_refused_without_being_quoted(value):
    with pytest.raises(BadKey) as refused:
        normalize(value)

    assert "0x" not in refused.value.message
