"""States are kept in order, travel as JSON, and say of an error what may be said."""

import json

import pytest
from celery.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError

from framework.cli.watch import line_of
from framework.errors import FrameworkError
from framework.progress import Progress, State, Step, Watcher
from framework.progress.run import public_error

FULL = State(
    id="7",
    task="shop.report",
    status="retry",
    number=3,
    at=1700000000.5,
    attempt=2,
    progress=Progress((Step("reading", 3, 10, "ñ", 1.5, 4.7), Step("page", 1))),
    retry_at=1700000007.0,
    result={"rows": [1, None]},
    error="The other side is busy.",
)


def told(status, number, **fields):
    return State("7", "shop.report", status, number, 0.0, **fields)


@pytest.mark.parametrize("state", [FULL, told("queued", 0)])
def test_a_state_comes_back_from_json_as_it_was(state):
    assert State.from_dict(json.loads(json.dumps(state.as_dict()))) == state


def test_json_has_what_a_page_would_have_to_compute():
    fields = FULL.as_dict()

    assert fields["final"] is False
    assert fields["progress"]["fraction"] == 0.3
    assert fields["progress"]["remaining"] == 4.7
    assert fields["progress"]["message"] == "ñ"
    assert [step["fraction"] for step in fields["progress"]["steps"]] == [0.3, None]


@pytest.mark.parametrize(
    ("steps", "fraction"),
    [
        ([(0, 4)], 0.0),
        ([(1, 4)], 0.25),
        ([(1, 4), (1, 2)], 0.375),
        ([(1, 4), (1, 2), (1, 2)], 0.4375),
        ([(1, 4), (1, None)], 0.25),
        ([(1, 4), (1, 2), (1, None)], 0.25),
        ([(4, 4)], 1.0),
        ([(9, 4)], 1.0),
        ([(0, 0)], 1.0),
        ([(3, None)], None),
        ([(3, None), (1, 2)], None),
        ([], None),
    ],
)
def test_a_fraction_has_the_inner_steps_part_of_the_current_item(steps, fraction):
    assert Progress(tuple(Step("", done, total) for done, total in steps)).fraction == fraction


@pytest.mark.parametrize(
    ("first", "second", "news"),
    [
        (None, told("queued", 0), True),
        (told("queued", 0), told("started", 1), True),
        (told("started", 1), told("started", 1), False),
        (told("progress", 5), told("progress", 4), False),
        (told("progress", 2**24 + 5), told("success", 2**24 - 1), True),
        (told("success", 9), told("progress", 10), False),
        (told("success", 9), told("failure", 10), False),
        (told("revoked", 9), told("success", 10), False),
    ],
)
def test_what_is_older_or_comes_after_the_end_is_no_news(first, second, news):
    assert second.follows(first) is news


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no text for you")


@pytest.mark.parametrize(
    ("exc", "expected", "text"),
    [
        (ValueError("user=root password=x"), (), "Something went wrong (ValueError)."),
        (FrameworkError("The file is empty."), (), "The file is empty."),
        (KeyError("k"), (LookupError,), "'k'"),
        (ValueError("x" * 1000), (ValueError,), "x" * 500),
        (Unspeakable(), (Unspeakable,), "Something went wrong (Unspeakable)."),
        (SoftTimeLimitExceeded(), (), "It took too long and was stopped."),
        (TimeLimitExceeded(3), (), "It took too long and was stopped."),
        (WorkerLostError("SIGKILL"), (), "What was running it ended unexpectedly."),
    ],
)
def test_an_error_is_told_in_words_for_who_waits(exc, expected, text):
    assert public_error(exc, expected) == text


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (told("queued", 0), "queued"),
        (told("started", 1), "started"),
        (told("success", 1), "done"),
        (told("success", 1, result={"rows": 3}), 'done: {"rows": 3}'),
        (told("failure", 1, error="It broke.\x1b[2J"), "failed: It broke.\\x1b[2J"),
        (told("revoked", 1, error="It was called off."), "revoked: It was called off."),
        (
            told("progress", 1, progress=Progress((Step("reading", 3, 6, "page\n3", 1.25, 3725.0),))),
            "reading   50% [############------------]  3/6  1.25/s  1:02:05 left  page 3",
        ),
        (
            told("progress", 1, progress=Progress((Step("", 1, 2), Step("inner", 7, None, "m")))),
            " 50% [############------------]  1/2  > inner 7  m",
        ),
        (told("progress", 1, progress=Progress((Step("rows", 1234567),))), "rows  1234567"),
    ],
)
def test_a_state_is_one_line_of_plain_text(state, line):
    assert line_of(state) == line


def test_a_retry_says_when_and_why():
    assert line_of(FULL).startswith("to be tried again until 20")
    assert line_of(FULL).endswith(": The other side is busy.")


def test_a_closed_watcher_takes_no_more_and_closing_twice_is_fine():
    watcher = Watcher()
    watcher.close()
    watcher.close()

    with pytest.raises(RuntimeError, match="closed"):
        watcher.subscribe("7", print)
