"""Limits as they are written, and the keys by which they count."""

import pickle
import subprocess
import sys

import pytest

from framework.celery.app import App
from framework.errors import BadLimit, OverLimit
from framework.limits import Limit, Rate, Unique


@pytest.mark.parametrize(
    ("text", "most", "window"),
    [
        ("1/10s", 1, 10),
        ("5/minute", 5, 60),
        ("5/m", 5, 60),
        ("100/2h", 100, 7200),
        ("3/day", 3, 86400),
        ("3/0.5s", 3, 0.5),
        (" 2 / 3 seconds ", 2, 3),
        ("7/second", 7, 1),
        ("1/14d", 1, 14 * 86400),
    ],
)
def test_a_rate_is_a_number_of_calls_and_a_window(text, most, window):
    assert Rate.of(text) == (most, window)


@pytest.mark.parametrize(
    "text",
    ["", "5", "5/", "/m", "5/week", "0/s", "-1/s", "1.5/s", "5/0s", "5/15d", "5/m!", "1000001/s", "\uff15/m", None, 5],
)
def test_an_invalid_rate_is_refused_where_it_is_written_with_the_grammar(text):
    with pytest.raises(BadLimit, match=r"N/\[M\]unit") as refused:
        Limit(text)

    assert repr(text) in refused.value.message


@pytest.mark.parametrize("invalid", [{"over": "wait"}, {"key": "a b"}, {"key": 5}, {"max_wait": -1}])
def test_other_invalid_arguments_of_a_limit_are_refused_there_too(invalid):
    with pytest.raises(BadLimit):
        Limit("1/s", **invalid)


@pytest.mark.parametrize("invalid", [{"duplicate": "drop"}, {"key": "a-b"}, {"expires": 0}])
def test_invalid_arguments_of_unique_are_refused(invalid):
    with pytest.raises(BadLimit, match="unique=True"):
        Unique(**invalid)


def test_the_seconds_to_wait_survive_pickling():
    error = pickle.loads(pickle.dumps(OverLimit.of("contact", "1/10s", 7.25)))

    assert error.retry_after == 7.25
    assert "contact is limited to 1/10s. Retry in 7.2 s" in error.message


@pytest.mark.parametrize(
    "options",
    [
        {"limit": Limit("1/s", key="visitr")},
        {"limit": [Limit("1/s"), Limit("2/m", key="self")]},
        {"limit": "5/m"},
        {"limit": []} | {"unique": "report"},
        {"unique": Unique(key="report")},
    ],
)
@pytest.mark.parametrize("bind", [False, True])
def test_a_task_with_an_unknown_argument_as_key_or_no_limit_is_refused_when_it_is_defined(options, bind):
    app = App("limits", set_as_current=False)

    def contact(self, visitor): ...
    def unbound(visitor): ...

    with pytest.raises(BadLimit, match="contact cannot be limited"):
        app.task(name="contact", bind=bind, shared=False, **options)(contact if bind else unbound).name  # noqa: B018


def test_a_limit_without_a_name_is_refused_in_a_view():
    with pytest.raises(BadLimit, match="needs a name"):
        Limit("1/s").take("Ann")


def test_a_limit_that_delays_is_refused_in_a_view():
    with pytest.raises(BadLimit, match="for tasks"):
        Limit("1/s", name="contact", over="delay").allows("Ann")


def test_the_application_of_a_limit_is_the_same_in_every_thread_of_a_web_server():
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from celery._state import get_current_app\n"
        "from framework.celery.celery import celery\n"
        "assert ThreadPoolExecutor().submit(get_current_app).result() is celery\n"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
