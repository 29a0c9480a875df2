"""Twenty years in twelve zones, beside an oracle that looks at a clock each minute.

``SCHEDULE_SCALE=1`` looks at every minute of them, which takes a while.
"""

import os
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise, product
from zoneinfo import ZoneInfo

import pytest
from celery.schedules import crontab
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framework.errors import BadSchedule
from framework.schedule.next_run import as_schedule, next_due

WHOLE = os.environ.get("SCHEDULE_SCALE") == "1"
pytestmark = pytest.mark.no_cover  # measuring it doubles its time, and other tests cover the same lines

FIRST, LAST = datetime(2006, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ZONES = [
    "Africa/Casablanca",  # changed its clocks four times in some years
    "America/New_York",
    "America/Santiago",  # at midnight, southern
    "America/Sao_Paulo",  # at midnight, southern, until 2019
    "America/St_Johns",  # at one minute past midnight, until 2011
    "Asia/Beirut",  # at midnight, northern
    "Asia/Kathmandu",  # never, and 45 minutes off the hour
    "Australia/Lord_Howe",  # by half an hour, southern
    "Australia/Sydney",  # southern
    "Europe/Madrid",
    "Pacific/Apia",  # skipped the whole of 30 December 2011
    "UTC",
]
LINES = {
    "30 2 * * *": (lambda now: (now.hour, now.minute) == (2, 30), False),
    "15 * * * *": (lambda now: now.minute == 15, True),
    "*/15 * * * *": (lambda now: now.minute % 15 == 0, True),
    "0 0 * * *": (lambda now: (now.hour, now.minute) == (0, 0), False),
    "0,20,40 0-4 * * *": (lambda now: now.hour < 5 and now.minute in (0, 20, 40), False),
    "*/10 1-2 * * *": (lambda now: now.hour in (1, 2) and now.minute % 10 == 0, True),
    "5 */2 * * *": (lambda now: now.hour % 2 == 0 and now.minute == 5, True),
    "59 23,0 * * sun,mon": (
        lambda now: now.hour in (23, 0) and now.minute == 59 and now.isoweekday() in (7, 1),
        False,
    ),
    "45 1 * * sun#L": (
        lambda now: (now.hour, now.minute, now.isoweekday()) == (1, 45, 7) and (now + 7 * DAY).month != now.month,
        False,
    ),
}


class Lines:
    """Strategies of cron fields: each a text beside the set of what it means."""

    @staticmethod
    def items(least, most):
        number = st.integers(least, most)
        pair = st.tuples(number, number).map(sorted)
        step = st.integers(1, most)
        return st.one_of(
            number.map(lambda n: (f"{n}", {n})),
            pair.map(lambda p: (f"{p[0]}-{p[1]}", set(range(p[0], p[1] + 1)))),
            st.tuples(pair, step).map(
                lambda ps: (f"{ps[0][0]}-{ps[0][1]}/{ps[1]}", set(range(ps[0][0], ps[0][1] + 1, ps[1])))
            ),
            step.map(lambda n: (f"*/{n}", set(range(least, most + 1, n)))),
            st.just(("*", set(range(least, most + 1)))),
        )

    @staticmethod
    def field(items):
        return st.lists(items, min_size=1, max_size=3).map(
            lambda some: (",".join(text for text, _ in some), set().union(*(means for _, means in some)))
        )

    minutes = field(items(0, 59))
    hours = field(items(0, 23))
    days = field(st.one_of(items(1, 31), st.just(("L", {"last"}))))
    months = field(items(1, 12))
    weekdays = field(
        st.one_of(
            items(0, 6),
            st.tuples(st.integers(0, 6), st.integers(1, 5)).map(lambda p: (f"{p[0]}#{p[1]}", {p})),
            st.integers(0, 6).map(lambda n: (f"{n}L", {(n, "last")})),
        )
    )
    every = st.just(("*", set(range(32))))


def day_is_meant(day, days, weekdays):
    number = day.isoweekday() % 7
    by_day = day.day in days[1] or ("last" in days[1] and (day + DAY).day == 1)
    last = "last" if (day + 7 * DAY).month != day.month else None
    by_weekday = bool({number, (number, (day.day - 1) // 7 + 1), (number, last)} & weekdays[1])
    starred = days[0].startswith("*") or weekdays[0].startswith("*")
    return by_day and by_weekday if starred else by_day or by_weekday


def oracle(clock, meant, follows):
    """Return the due times, from the clock of each minute in turn: ``(UTC, local time)``."""
    if follows:
        return [utc for utc, local in clock if meant(local)]
    seen, due, expected = set(), set(), clock[0][1]
    for utc, local in clock:
        skipped = utc
        while expected < local:
            if meant(expected):
                due.add(skipped)
            seen.add(expected)
            expected, skipped = expected + MINUTE, skipped + MINUTE
        if local not in seen and meant(local):
            due.add(utc)
        seen.add(local)
        expected = local + MINUTE
    return sorted(due)


@lru_cache(maxsize=64)
def clock_of(zone, begin, minutes):
    there = ZoneInfo(zone)
    times = [begin + n * MINUTE for n in range(minutes)]
    return [(utc, utc.astimezone(there).replace(tzinfo=None, fold=0)) for utc in times]


@lru_cache
def changes_of(zone):
    """The hours of twenty years in which the clocks of the zone are changed."""
    there = ZoneInfo(zone)

    def changed(at, by):
        return at.astimezone(there).utcoffset() != (at + by).astimezone(there).utcoffset()

    days = (FIRST + n * DAY for n in range((LAST - FIRST).days))
    return [day + n * HOUR for day in days if changed(day, DAY) for n in range(24) if changed(day + n * HOUR, HOUR)]


def all_due(schedule, begin, end, zone):
    found, after = [], begin - timedelta.resolution
    while (due := next_due(schedule, after, ZoneInfo(zone))) < end:
        assert due > after
        found.append(after := due)
    return found


def test_the_zones_do_change_their_clocks():
    assert [len(changes_of(zone)) for zone in ZONES if zone not in ("UTC", "Asia/Kathmandu")] > [5] * 10
    assert changes_of("UTC") == changes_of("Asia/Kathmandu") == []


@pytest.mark.parametrize("zone", [zone for zone in ZONES if changes_of(zone)])
def test_around_each_change_of_the_clocks_it_is_as_on_a_wall_clock(zone):
    for number, change in enumerate(changes_of(zone)):
        begin, minutes = change - 7 * HOUR, 16 * 60
        clock = clock_of(zone, begin - DAY, minutes + 24 * 60)
        for line in list(LINES)[number % 3 :: 3]:
            expected = [due for due in oracle(clock, *LINES[line]) if due >= begin]
            end = begin + minutes * MINUTE

            found = all_due(as_schedule(line), begin, end, zone)

            assert (line, found) == (line, [due for due in expected if due < end])


@pytest.mark.timeout(1200)
@settings(max_examples=4000 if WHOLE else 250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_line_from_any_time_is_due_as_on_a_wall_clock(data):
    # given a clock for three days, mostly with a change in them, and a time in the first two
    zone = data.draw(st.sampled_from(ZONES))
    around = st.sampled_from(changes_of(zone)) if changes_of(zone) else st.nothing()
    anywhere = st.integers(0, (LAST - FIRST).days - 4).map(lambda n: FIRST + n * DAY)
    begin = data.draw(around | anywhere) - DAY - HOUR
    clock = clock_of(zone, begin - 2 * DAY, 5 * 24 * 60)
    after = begin + timedelta(seconds=data.draw(st.integers(0, 2 * 86400)))
    minutes, hours = data.draw(Lines.minutes), data.draw(Lines.hours)
    days, weekdays = data.draw(Lines.every | Lines.days), data.draw(Lines.every | Lines.weekdays)
    line = f"{minutes[0]} {hours[0]} {days[0]} * {weekdays[0]}"
    follows = "*" in (minutes[0][0], hours[0][0]) or len(minutes[1]) == 60 or len(hours[1]) == 24

    def meant(local):
        return local.minute in minutes[1] and local.hour in hours[1] and day_is_meant(local, days, weekdays)

    # when
    schedule = schedule_or_impossible(line)
    found = schedule and next_due(schedule, after, ZoneInfo(zone))

    # then
    expected = next((due for due in oracle(clock, meant, follows) if due > after), None)
    assert found == expected if expected or found is None else found > clock[-1][0]


@settings(max_examples=1000 if WHOLE else 60, deadline=None)
@given(days=Lines.days, months=Lines.months, weekdays=Lines.weekdays)
def test_any_days_of_twenty_years_are_those_of_the_calendar(days, months, weekdays):
    expected = [
        day
        for day in (FIRST.date() + n * DAY for n in range((LAST - FIRST).days))
        if day.month in months[1] and day_is_meant(day, days, weekdays)
    ]
    line = f"0 12 {days[0]} {months[0]} {weekdays[0]}"

    schedule = schedule_or_impossible(line)
    found = [due.date() for due in all_due(schedule, FIRST, LAST, "UTC")] if schedule else []

    assert found == expected


def schedule_or_impossible(line):
    try:
        return as_schedule(line)
    except BadSchedule:
        return None


@settings(max_examples=500 if WHOLE else 40, deadline=None)
@given(days=Lines.items(1, 31), months=Lines.items(1, 12), weekdays=Lines.items(0, 6))
def test_a_crontab_of_celery_needs_both_of_its_day_fields(days, months, weekdays):
    expected = [
        day
        for day in (FIRST.date() + n * DAY for n in range((LAST - FIRST).days))
        if day.day in days[1] and day.month in months[1] and day.isoweekday() % 7 in weekdays[1]
    ]
    schedule = crontab_or_none(days, months, weekdays)

    found = [due.date() for due in all_due(schedule, FIRST, LAST, "UTC")] if schedule else []

    assert found == expected


def crontab_or_none(days, months, weekdays):
    try:
        return as_schedule(crontab(0, 12, day_of_month=days[1], month_of_year=months[1], day_of_week=weekdays[1]))
    except ValueError:
        return None


@pytest.mark.skipif(not WHOLE, reason="SCHEDULE_SCALE=1 looks at every minute of twenty years")
@pytest.mark.timeout(3600)
def test_every_minute_of_twenty_years_is_as_on_a_wall_clock():
    years = [datetime(year, 1, 1, tzinfo=UTC) for year in range(FIRST.year, LAST.year + 1)]
    for zone, (begin, end) in product(ZONES, pairwise(years)):
        clock = clock_of.__wrapped__(zone, begin - DAY, (end - begin) // MINUTE + 24 * 60)
        for line, meaning in LINES.items():
            expected = [due for due in oracle(clock, *meaning) if due >= begin]

            assert all_due(as_schedule(line), begin, end, zone) == expected, (zone, line)


def test_the_oracle_knows_the_night_of_a_spring_and_of_an_autumn():
    spring = clock_of("Europe/Madrid", datetime(2026, 3, 28, 12, tzinfo=UTC), 24 * 60)
    autumn = clock_of("Europe/Madrid", datetime(2026, 10, 24, 12, tzinfo=UTC), 24 * 60)

    assert oracle(spring, *LINES["30 2 * * *"]) == [datetime(2026, 3, 29, 1, 30, tzinfo=UTC)]
    assert oracle(autumn, *LINES["30 2 * * *"]) == [datetime(2026, 10, 25, 0, 30, tzinfo=UTC)]
    assert len(oracle(spring, *LINES["15 * * * *"])) == len(oracle(autumn, *LINES["15 * * * *"])) == 24
    assert day_is_meant(date(2026, 11, 10), ("*", set(range(32))), ("2#2", {(2, 2)}))
