"""The nights in which the clocks change, one by one."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from celery.schedules import crontab

from framework.schedule.next_run import as_schedule, next_due


def local_times(schedule, begin, end, zone):
    """What the clock shows each time that it is due from ``begin`` to ``end``, which are of that clock too."""
    there = ZoneInfo(zone)
    after, last = (datetime.fromisoformat(text).replace(tzinfo=there) for text in (begin, end))
    found = []
    while (after := next_due(as_schedule(schedule), after, there)) <= last:
        found.append(after.astimezone(there).strftime("%d %H:%M %z"))
    return found


def test_a_daily_entry_at_a_time_skipped_in_spring_runs_once_when_it_would_have_run():
    found = local_times("30 2 * * *", "2026-03-28", "2026-03-30T23:00", "Europe/Madrid")

    assert found == ["28 02:30 +0100", "29 03:30 +0200", "30 02:30 +0200"]


def test_a_daily_entry_at_a_time_repeated_in_autumn_runs_the_first_time():
    found = local_times("30 2 * * *", "2026-10-24", "2026-10-26T23:00", "Europe/Madrid")

    assert found == ["24 02:30 +0200", "25 02:30 +0200", "26 02:30 +0100"]


@pytest.mark.parametrize("schedule", ["15 * * * *", "15 0-23 * * *", crontab(minute=15), crontab("15", "*/1")])
def test_an_hourly_entry_runs_at_both_of_the_hours_of_an_autumn_night(schedule):
    found = local_times(schedule, "2026-10-25T01:00", "2026-10-25T03:30", "Europe/Madrid")

    assert found == ["25 01:15 +0200", "25 02:15 +0200", "25 02:15 +0100", "25 03:15 +0100"]


def test_an_hourly_entry_in_spring_goes_from_one_hour_that_exists_to_the_next():
    found = local_times("15 * * * *", "2026-03-29T01:00", "2026-03-29T04:30", "Europe/Madrid")

    assert found == ["29 01:15 +0100", "29 03:15 +0200", "29 04:15 +0200"]


def test_a_rare_entry_that_follows_the_clock_begins_its_day_at_the_offset_of_that_day():
    found = local_times("0 * 15 7 *", "2025-11-01", "2026-07-15T01:30", "Europe/Madrid")

    assert found == ["15 00:00 +0200", "15 01:00 +0200"]


def test_the_repetition_of_an_hour_comes_before_the_same_hour_of_another_year():
    found = local_times("*/30 2 25 10 *", "2026-10-25", "2027-10-25T02:10", "Europe/Madrid")

    assert found == ["25 02:00 +0200", "25 02:30 +0200", "25 02:00 +0100", "25 02:30 +0100", "25 02:00 +0200"]


def test_two_fixed_times_that_are_one_in_spring_run_once():
    found = local_times("30 2,3 * * *", "2026-03-29", "2026-03-29T23:00", "Europe/Madrid")

    assert found == ["29 03:30 +0200"]


def test_fixed_times_around_a_skipped_hour_run_in_their_order_in_utc():
    found = local_times("0,40 2,3 * * *", "2026-03-29", "2026-03-29T23:00", "Europe/Madrid")

    assert found == ["29 03:00 +0200", "29 03:40 +0200"]


def test_a_clock_that_goes_back_by_half_an_hour_repeats_only_that_half():
    found = local_times("*/20 * * * *", "2026-04-05T01:00", "2026-04-05T02:10", "Australia/Lord_Howe")

    assert found == [
        *("05 01:20 +1100", "05 01:40 +1100", "05 01:40 +1030", "05 02:00 +1030"),
    ]


def test_a_clock_that_goes_forward_by_half_an_hour_moves_a_skipped_time_by_half_an_hour():
    found = local_times("15 2 * * *", "2026-10-04", "2026-10-05T12:00", "Australia/Lord_Howe")

    assert found == ["04 02:45 +1100", "05 02:15 +1100"]


@pytest.mark.parametrize(
    ("zone", "day", "found"),
    [
        ("America/Sao_Paulo", "2018-11-04", "04 01:00 -0200"),
        ("Asia/Beirut", "2026-03-29", "29 01:00 +0300"),
        ("America/Santiago", "2026-09-06", "06 01:00 -0300"),
    ],
)
def test_midnight_where_it_is_skipped_is_one_o_clock(zone, day, found):
    assert local_times("@daily", f"{day}T00:30", f"{day}T23:00", zone) == []
    assert local_times("@daily", f"{day[:-2]}{int(day[-2:]) - 1:02}T12:00", f"{day}T23:00", zone) == [found]


@pytest.mark.parametrize(
    ("zone", "eve", "found"),
    [
        ("America/Santiago", "2026-04-04T12:00", ["04 23:30 -0300", "05 23:30 -0400"]),
        ("America/St_Johns", "2010-11-06T12:00", ["06 23:30 -0230", "07 23:30 -0330"]),
    ],
)
def test_a_repeated_last_hour_of_a_day_runs_a_fixed_entry_once(zone, eve, found):
    day = datetime.fromisoformat(eve).day + 1
    assert local_times("30 23 * * *", eve, f"{eve[:8]}{day:02}T23:59", zone) == found


def test_a_day_that_a_zone_skipped_has_no_run():
    found = local_times("0 10 * * *", "2011-12-29T00:00", "2012-01-01T00:00", "Pacific/Apia")

    assert found == ["29 10:00 -1000", "31 10:00 +1400"]


def test_the_second_tuesday_at_one_in_madrid():
    schedule = as_schedule("0 1 * * tue#2", timezone="Europe/Madrid")
    after = datetime(2026, 11, 21, tzinfo=UTC)

    found = [after := next_due(schedule, after, UTC) for _ in range(10)]

    assert [due.astimezone(ZoneInfo("Europe/Madrid")).isoformat(" ", "minutes") for due in found] == [
        "2026-12-08 01:00+01:00",
        "2027-01-12 01:00+01:00",
        "2027-02-09 01:00+01:00",
        "2027-03-09 01:00+01:00",
        "2027-04-13 01:00+02:00",
        "2027-05-11 01:00+02:00",
        "2027-06-08 01:00+02:00",
        "2027-07-13 01:00+02:00",
        "2027-08-10 01:00+02:00",
        "2027-09-14 01:00+02:00",
    ]


def test_the_next_time_is_strictly_later():
    at = datetime(2026, 1, 1, 12, tzinfo=UTC)

    assert next_due(as_schedule("0 12 * * *"), at, UTC) == datetime(2026, 1, 2, 12, tzinfo=UTC)
    assert next_due(as_schedule("* * * * *"), at.replace(microsecond=1), UTC) == at.replace(minute=1)


def test_the_time_to_start_from_may_be_of_any_zone():
    at = datetime(2026, 1, 1, 12, tzinfo=ZoneInfo("Asia/Tokyo"))

    assert next_due(as_schedule("0 3 * * *"), at, UTC) == datetime(2026, 1, 2, 3, tzinfo=UTC)


@pytest.mark.parametrize("schedule", ["0 0 29 2 *", "* * 29 2 *", crontab(0, 0, day_of_month=29, month_of_year=2)])
def test_the_29th_of_february_is_found_across_a_century_without_one(schedule):
    after = datetime(2096, 3, 1, tzinfo=UTC)

    assert next_due(as_schedule(schedule), after, UTC) == datetime(2104, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize("schedule", ["0 0 1 1 *", "* * 1 1 *", 86400])
def test_nothing_is_due_after_the_last_day_of_the_calendar(schedule):
    assert next_due(as_schedule(schedule), datetime(9999, 12, 31, 12, tzinfo=UTC), ZoneInfo("America/Lima")) is None
