"""A token is valid for one task, one visitor and a limited time; any other is refused."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.errors import BadTaskToken, ExpiredTaskToken, FrameworkError, MissingSecret
from framework.web.tokens import Tokens

SECRET = "long and random"


@pytest.fixture
def tokens():
    return Tokens(SECRET)


@settings(deadline=None)
@given(task_id=st.text(), visitor=st.text())
def test_a_token_gives_its_visitor_the_id_of_the_task(task_id, visitor):
    tokens = Tokens(SECRET)

    assert tokens.task_id(tokens.make(task_id, visitor), visitor) == task_id


def test_a_token_fits_into_a_url_and_does_not_contain_the_visitor(tokens):
    token = tokens.make("a task / of ?ours é", "ann@example.com")

    assert set(token) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
    assert "ann" not in token


@pytest.mark.parametrize("visitor", ["ben", "", "Ann", "ann ", None])
def test_a_token_is_refused_for_any_other_visitor(tokens, visitor):
    with pytest.raises(BadTaskToken):
        tokens.task_id(tokens.make("task", "ann"), visitor)


def test_a_token_with_a_changed_character_is_refused(tokens):
    token = tokens.make("task", "ann")

    for place, character in enumerate(token[:-1]):  # the last one's lowest bits mean nothing in base64
        forged = token[:place] + ("A" if character != "A" else "B") + token[place + 1 :]
        with pytest.raises(BadTaskToken):
            tokens.task_id(forged, "ann")


@settings(deadline=None)
@given(text=st.text())
def test_any_other_text_is_refused(text):
    with pytest.raises(BadTaskToken):
        Tokens(SECRET).task_id(text, "ann")


def test_a_token_of_another_secret_is_refused(tokens):
    with pytest.raises(BadTaskToken):
        tokens.task_id(Tokens("another").make("task", "ann"), "ann")


def test_a_token_of_the_previous_secret_is_accepted_until_that_is_removed(tokens):
    before = tokens.make("task", "ann")
    both = Tokens([SECRET, "the new one"])

    assert both.task_id(before, "ann") == "task"
    with pytest.raises(BadTaskToken):
        Tokens("the new one").task_id(before, "ann")
    with pytest.raises(BadTaskToken):
        tokens.task_id(both.make("task", "ann"), "ann")


def test_a_token_expires_for_its_visitor_and_is_refused_for_others_as_before(monkeypatch):
    tokens = Tokens(SECRET, expires=60)
    token = tokens.make("task", "ann")
    later = time.time() + 62
    monkeypatch.setattr(time, "time", lambda: later)

    with pytest.raises(ExpiredTaskToken, match="60 s"):
        tokens.task_id(token, "ann")
    with pytest.raises(BadTaskToken):
        tokens.task_id(token, "ben")


def test_every_refusal_has_the_same_message(tokens):
    mine = tokens.make("task", "ann")

    assert refusal(tokens, mine, "ben") == refusal(tokens, "nonsense", "ann") == refusal(tokens, mine + "x", "ann")


@pytest.mark.parametrize("secret", [None, "", b"", [], [""], ["old", ""]])
def test_an_empty_secret_is_refused(secret):
    with pytest.raises(MissingSecret, match="SECRET_KEY"):
        Tokens(secret)


def refusal(tokens, token, visitor):
    with pytest.raises(FrameworkError) as refused:
        tokens.task_id(token, visitor)
    return refused.value.message
