"""The values that an entry's schedule may have, and the due times of those that are no cron."""

from datetime import UTC, datetime, timedelta
from math import inf, nan
from zoneinfo import ZoneInfo

import pytest
from celery.schedules import BaseSchedule, crontab, schedule
from hypothesis import given
from hypothesis import strategies as st

from framework.errors import BadSchedule
from framework.schedule import cron
from framework.schedule.next_run import as_schedule, jitter_of, next_due

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MADRID = ZoneInfo("Europe/Madrid")


@pytest.mark.parametrize("value", [90, 90.0, timedelta(seconds=90), schedule(90)])
def test_an_interval_is_due_at_its_multiples_from_any_time(value):
    starts = [NOON + timedelta(seconds=seconds) for seconds in (0, 0.5, 89.999)]

    assert {next_due(as_schedule(value), at, MADRID) for at in starts} == {NOON + timedelta(seconds=90)}


def test_an_interval_may_be_shorter_than_a_second():
    assert next_due(as_schedule(0.25), NOON, UTC) == NOON + timedelta(seconds=0.25)


@pytest.mark.parametrize(
    "value", [0, -1, 1e-9, timedelta(), schedule(0), schedule(-5), nan, inf, 1e30, True, None, [60]]
)
def test_an_invalid_interval_is_refused_with_the_name_of_its_entry(value):
    with pytest.raises(BadSchedule, match="The entry 'nightly'"):
        as_schedule(value, entry="nightly")


def test_a_string_is_a_cron_line_or_words_in_the_zone_of_its_entry():
    assert as_schedule("@daily", timezone="Europe/Madrid") == cron("@daily", timezone="Europe/Madrid")


def test_an_invalid_string_is_refused_with_the_name_of_its_entry():
    with pytest.raises(BadSchedule, match=r"The entry 'nightly': .*'0 0 30 2 \*'.*L is the last"):
        as_schedule("0 0 30 2 *", entry="nightly")


@pytest.mark.parametrize("value", [crontab(0, 1), cron("0 1 * * *")])
def test_an_entry_gives_its_zone_to_a_schedule_without_one(value):
    due = next_due(as_schedule(value, timezone="Asia/Tokyo"), NOON, MADRID)

    assert due == datetime(2026, 1, 1, 16, tzinfo=UTC)
    assert next_due(value, NOON, MADRID) == datetime(2026, 1, 2, 0, tzinfo=UTC)


def test_a_crontab_with_the_zone_of_its_entry_is_a_crontab_of_that_zone_to_celery():
    made = as_schedule(crontab(0, 1, nowfun=lambda: NOON), timezone="Asia/Tokyo")

    assert made.remaining_estimate(NOON) == timedelta(hours=4)


@pytest.mark.parametrize("value", [60, schedule(60), cron("@daily", timezone="Asia/Tokyo"), BaseSchedule()])
def test_a_zone_that_the_schedule_cannot_have_is_refused(value):
    with pytest.raises(BadSchedule, match=r"'Europe/Madrid'.*[Ll]eave"):
        as_schedule(value, timezone="Europe/Madrid", entry="nightly")


def test_a_crontab_in_a_zone_that_does_not_exist_is_refused():
    with pytest.raises(BadSchedule, match="Did you mean 'Europe/Madrid'"):
        as_schedule(crontab(0, 1), timezone="Europe/Madird")


def test_a_schedule_of_celery_is_returned_unchanged():
    for given_one in (crontab(0, 1), cron("@daily"), schedule(5), Tides(), Pulse()):
        assert as_schedule(given_one) is given_one


class Tides(BaseSchedule):
    """Due 12 hours and 25 minutes after it was last run."""

    def remaining_estimate(self, last_run_at):
        return last_run_at + timedelta(hours=12, minutes=25) - self.now()


class Never(BaseSchedule):
    """Goes nowhere."""

    def remaining_estimate(self, last_run_at):
        return last_run_at - self.now()


class Lunch(crontab):
    """A crontab with answers of its own."""

    def remaining_estimate(self, last_run_at):
        return timedelta(hours=1)


class Pulse(schedule):
    """An interval with a computed period."""

    def remaining_estimate(self, last_run_at):
        return timedelta(seconds=7)


def test_a_custom_schedule_is_called_with_the_start_as_now():
    assert next_due(Tides(), NOON, UTC) == NOON + timedelta(hours=12, minutes=25)
    assert next_due(Lunch(), NOON, UTC) == NOON + timedelta(hours=1)
    assert next_due(Pulse(), NOON, UTC) == NOON + timedelta(seconds=7)


def test_a_custom_schedule_without_a_later_time_is_refused():
    with pytest.raises(BadSchedule, match="not later"):
        next_due(Never(), NOON, UTC)


def test_sunrises_are_a_day_apart_at_whole_minutes_from_any_time():
    pytest.importorskip("ephem")
    from celery.schedules import solar

    sunrise = as_schedule(solar("sunrise", 40.4, -3.7))
    first = next_due(sunrise, NOON, MADRID)

    assert first == datetime(2026, 1, 2, 7, 38, tzinfo=UTC)
    starts = [first - timedelta(seconds=seconds) for seconds in (0.001, 1, 30, 59, 60, 3600, 70000)]
    assert {next_due(sunrise, at, MADRID) for at in starts} == {first}
    for day in range(1, 400):
        following = next_due(sunrise, first, MADRID)
        assert timedelta(hours=23, minutes=55) < following - first < timedelta(hours=24, minutes=5), day
        first = following


@given(st.text(), st.datetimes(timezones=st.just(UTC)), st.floats(0.001, 1e9))
def test_jitter_is_less_than_its_limit(entry, slot, jitter):
    assert 0 <= jitter_of(entry, slot, jitter) < jitter


def test_jitter_is_the_same_on_every_server_and_another_for_each_slot_and_entry():
    found = [
        jitter_of("nightly", NOON, 60),
        jitter_of("nightly", NOON + timedelta(minutes=1), 60),
        jitter_of("hourly", NOON, 60),
    ]

    assert found == pytest.approx([12.4622, 33.6969, 59.5586], abs=1e-4)
    assert jitter_of("nightly", NOON.astimezone(MADRID), 60) == found[0]


def test_jitter_spreads_up_to_its_limit():
    slots = (NOON + timedelta(minutes=n) for n in range(1000))

    quarters = [int(jitter_of("nightly", slot, 4)) for slot in slots]

    assert all(quarters.count(quarter) > 200 for quarter in range(4))
