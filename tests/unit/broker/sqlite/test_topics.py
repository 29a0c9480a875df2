"""Topic patterns: words, one word, any words."""

import pytest

from framework.broker.sqlite.routing import topic_matches


@pytest.mark.parametrize(
    ("pattern", "key"),
    [
        ("a.b", "a.b"),
        ("a.*", "a.b"),
        ("a.#", "a"),
        ("a.#", "a.b.c"),
        ("#", ""),
        ("#", "a.b"),
        ("#.b", "b"),
        ("#.b.#", "a.b.c"),
        ("a.*.#.b", "a.x.b"),
        ("a..b", "a..b"),
        ("*.*", "."),
    ],
)
def test_a_key_matches(pattern, key):
    assert topic_matches(pattern, key)


@pytest.mark.parametrize(
    ("pattern", "key"),
    [
        ("a.b", "a.c"),
        ("a.*", "a"),
        ("a.*", "a.b.c"),
        ("*", ""),
        ("*", "a.b"),
        ("#.b", "a"),
        ("a.*.#.b", "a.b"),
        ("", "a"),
    ],
)
def test_a_key_does_not_match(pattern, key):
    assert not topic_matches(pattern, key)


def test_many_wildcards_cost_no_more_than_their_number_times_the_words():
    assert not topic_matches(".".join(["#", "a"] * 50), ".".join(["a"] * 49 + ["b"]))
