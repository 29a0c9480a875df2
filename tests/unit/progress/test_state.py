"""States have an order, are converted to JSON and back, and contain errors without secrets."""

import json
import math

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


def state(status, number, **fields):
    return State("7", "shop.report", status, number, 0.0, **fields)


@pytest.mark.parametrize("reported", [FULL, state("queued", 0)])
def test_a_state_is_the_same_after_a_round_trip_through_json(reported):
    assert State.from_dict(json.loads(json.dumps(reported.as_dict()))) == reported


def test_json_contains_the_computed_fields():
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
def test_a_fraction_includes_the_inner_steps(steps, fraction):
    assert Progress(tuple(Step("", done, total) for done, total in steps)).fraction == fraction


@pytest.mark.parametrize(
    ("first", "second", "newer"),
    [
        (None, state("queued", 0), True),
        (state("queued", 0), state("started", 1), True),
        (state("started", 1), state("started", 1), False),
        (state("progress", 5), state("progress", 4), False),
        (state("progress", 2**24 + 5), state("success", 2**24 - 1), True),
        (state("success", 9), state("progress", 10), False),
        (state("success", 9), state("failure", 10), False),
        (state("revoked", 9), state("success", 10), False),
    ],
)
def test_a_state_is_newer_unless_its_number_is_lower_or_the_task_has_ended(first, second, newer):
    assert second.follows(first) is newer


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("exc", "expected", "text"),
    [
        (ValueError("user=root password=x"), (), "Something went wrong (ValueError)."),
        (FrameworkError("The file is empty."), (), "The file is empty."),
        (KeyError("k"), (LookupError,), "'k'"),
        (ValueError("x" * 1000), (ValueError,), "x" * 500),
        (UnprintableError(), (UnprintableError,), "Something went wrong (UnprintableError)."),
        (SoftTimeLimitExceeded(), (), "It took too long and was stopped."),
        (TimeLimitExceeded(3), (), "It took too long and was stopped."),
        (WorkerLostError("SIGKILL"), (), "What was running it ended unexpectedly."),
    ],
)
def test_an_error_is_described_without_secrets(exc, expected, text):
    assert public_error(exc, expected) == text


@pytest.mark.parametrize(
    ("reported", "line"),
    [
        (state("queued", 0), "queued"),
        (state("started", 1), "started"),
        (state("success", 1), "done"),
        (state("success", 1, result={"rows": 3}), 'done: {"rows": 3}'),
        (state("failure", 1, error="It broke.\x1b[2J"), "failed: It broke.\\x1b[2J"),
        (state("revoked", 1, error="It was called off."), "revoked: It was called off."),
        (
            state("progress", 1, progress=Progress((Step("reading", 3, 6, "page\n3", 1.25, 3725.0),))),
            "reading   50% [############------------]  3/6  1.25/s  1:02:05 left  page 3",
        ),
        (
            state("progress", 1, progress=Progress((Step("", 1, 2), Step("inner", 7, None, "m")))),
            " 50% [############------------]  1/2  > inner 7  m",
        ),
        (state("progress", 1, progress=Progress((Step("rows", 1234567),))), "rows  1234567"),
    ],
)
def test_a_state_is_one_line_of_plain_text(reported, line):
    assert line_of(reported) == line


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan, 1e308])
def test_a_state_with_any_numbers_is_a_line(number):
    """Section D: `framework watch` ended with a traceback at a total of infinity or NaN."""
    for step in (Step("rows", 1, number), Step("rows", number, 3), Step("rows", 1, 3, "", number, number)):
        assert line_of(state("progress", 1, progress=Progress((step,)))).startswith("rows")
        assert Progress((step, step)).fraction is None or 0 <= Progress((step, step)).fraction <= 1


def test_a_state_of_another_version_is_read_without_the_fields_that_are_missing_or_unknown():
    """A14."""
    fields = FULL.as_dict() | {"color": "blue"}
    fields["progress"]["steps"][0]["color"] = "blue"
    assert State.from_dict(fields) == FULL

    assert State.from_dict({"id": "7"}) == State("7", "", "started", 0, 0.0)
    assert State.from_dict({"id": "7", "status": "paused"}).final is False
    assert State.from_dict({"id": "7", "progress": {"steps": [{}]}}).progress == Progress((Step("", 0),))


def test_the_line_of_a_retry_contains_its_time_and_its_reason():
    assert line_of(FULL).startswith("will be retried at 20")
    assert line_of(FULL).endswith(": The other side is busy.")


def test_a_closed_watcher_refuses_subscriptions_and_can_be_closed_again():
    watcher = Watcher()
    watcher.close()
    watcher.close()

    with pytest.raises(RuntimeError, match="closed"):
        watcher.subscribe("7", print)
