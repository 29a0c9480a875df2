"""The next slot of an entry, and which missed slots are run."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.schedule.entries import Entry
from framework.schedule.misfire import GRACE_SECONDS, next_due_slot
from framework.schedule.next_run import as_schedule

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def at(seconds):
    return NOON + timedelta(seconds=seconds)


def entry(period, **options):
    return Entry("each", "probe.work", as_schedule(period), UTC, **options)


def slots_sent(made, last, now):
    """Seconds from noon of the slots that are sent, one after the other, by a leader at the time ``now``."""
    found = []
    last, now = at(last), at(now)
    while (due := next_due_slot(made, last, now)) and due.at <= now:
        last = due.slot
        found.append((due.slot - NOON).total_seconds())
    return found


@pytest.mark.parametrize(
    ("missed", "last", "now", "sent"),
    [
        ("latest", 0, 9, []),
        ("latest", 0, 10, [10]),
        ("latest", 0, 10.5, [10]),
        # a fail-over: nothing is left out that is younger than the grace
        ("latest", 0, 59, [10, 20, 30, 40, 50]),
        ("latest", 0, 1000, [950, 960, 970, 980, 990, 1000]),
        ("all", 0, 55, [10, 20, 30, 40, 50]),
        ("all", 0, 200, list(range(10, 201, 10))),
        (25, 0, 200, [180, 190, 200]),
        (1, 0, 200, [200]),
        (1, 0, 202, []),
        # a clock that was set back
        ("latest", 3600, 0, []),
        ("all", 3600, 0, []),
        (25, 3600, 0, []),
    ],
)
def test_an_entry_each_ten_seconds(missed, last, now, sent):
    assert slots_sent(entry(10, missed=missed), last, now) == sent


@pytest.mark.parametrize(
    ("missed", "last", "now", "sent"),
    [
        ("latest", 0, 3600 + GRACE_SECONDS, [3600]),
        ("latest", 0, 3 * 3600 + 1800, [3 * 3600]),
        ("latest", 0, 1000 * 86400 + 1, [1000 * 86400]),
        ("all", 0, 3 * 3600 + 1800, [3600, 2 * 3600, 3 * 3600]),
        (5500, 0, 3 * 3600 + 1800, [2 * 3600, 3 * 3600]),
        (600, 0, 3 * 3600 + 1800, []),
    ],
)
def test_an_hourly_entry_after_an_outage(missed, last, now, sent):
    assert slots_sent(entry(3600, missed=missed), last, now) == sent


def test_a_month_of_slots_each_second_is_skipped_at_once():
    assert slots_sent(entry(1), 0, 30 * 86400) == [
        30 * 86400 - GRACE_SECONDS + number for number in range(1, int(GRACE_SECONDS) + 1)
    ]


def test_excluded_slots_are_skipped_and_the_next_one_is_returned():
    due = next_due_slot(entry(10, missed=1), at(0), at(203))

    assert due == (at(210), at(210))


def test_jitter_delays_but_neither_drops_nor_repeats():
    made = entry(60, jitter=300)
    sent, last, now = [], at(0), at(0)
    for _ in range(100):
        due = next_due_slot(made, last, now)
        assert 0 <= (due.at - due.slot).total_seconds() < 300
        now, last = max(now, due.at), due.slot
        sent.append((due.slot - NOON).total_seconds())

    assert sent == [60 * number for number in range(1, 101)]


def test_a_slot_years_ahead_is_found():
    made = Entry("each", "probe.work", as_schedule("0 0 29 2 *"), UTC)

    assert next_due_slot(made, at(0), at(0)).slot == datetime(2028, 2, 29, tzinfo=UTC)


@given(
    period=st.sampled_from([1, 7, 60, 3600, 86400]),
    outage=st.floats(0, 3 * 86400),
    missed=st.one_of(st.just("latest"), st.floats(1, 86400)),
)
def test_after_any_outage_the_latest_slots_are_run(period, outage, missed):
    slots = slots_sent(entry(period, missed="all"), 0, min(outage, 2000 * period))
    found = slots_sent(entry(period, missed=missed), 0, min(outage, 2000 * period))

    assert found == slots[len(slots) - len(found) :]
    if missed == "latest" and slots:
        assert found
