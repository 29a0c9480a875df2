"""Cron lines and words: their due times, and which are refused."""

import pickle
from datetime import UTC, datetime

import pytest

from framework.errors import BadSchedule
from framework.schedule import cron
from framework.schedule.next_run import next_due

NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)


def first_two(expression):
    first = next_due(cron(expression), NOVEMBER, UTC)
    return [f"{due:%Y-%m-%d %H:%M}" for due in (first, next_due(cron(expression), first, UTC))]


@pytest.mark.parametrize(
    ("expression", "due"),
    [
        ("*/20 * * * *", ["2026-11-01 00:20", "2026-11-01 00:40"]),
        ("5,50-52/2 9 * * *", ["2026-11-01 09:05", "2026-11-01 09:50"]),
        ("0 9 * jan,MAR *", ["2027-01-01 09:00", "2027-01-02 09:00"]),
        ("0 9 * * mon-fri", ["2026-11-02 09:00", "2026-11-03 09:00"]),
        ("0 9 * * fri-sun", ["2026-11-01 09:00", "2026-11-06 09:00"]),
        ("0 9 * * 0", ["2026-11-01 09:00", "2026-11-08 09:00"]),
        ("0 9 * * 7", ["2026-11-01 09:00", "2026-11-08 09:00"]),
        ("0 9 * * 6-7", ["2026-11-01 09:00", "2026-11-07 09:00"]),
        ("0 9 * * */3", ["2026-11-01 09:00", "2026-11-04 09:00"]),
        ("0 9 L * *", ["2026-11-30 09:00", "2026-12-31 09:00"]),
        ("0 9 15,L * *", ["2026-11-15 09:00", "2026-11-30 09:00"]),
        ("0 9 * * tue#2", ["2026-11-10 09:00", "2026-12-08 09:00"]),
        ("0 9 * * mon#1,tue#2", ["2026-11-02 09:00", "2026-11-10 09:00"]),
        ("0 9 * * mon#5", ["2026-11-30 09:00", "2027-03-29 09:00"]),
        ("0 9 * * fri#L", ["2026-11-27 09:00", "2026-12-25 09:00"]),
        ("0 9 * * 5L", ["2026-11-27 09:00", "2026-12-25 09:00"]),
        ("  0  9 *\t* * ", ["2026-11-01 09:00", "2026-11-02 09:00"]),
        ("@hourly", ["2026-11-01 01:00", "2026-11-01 02:00"]),
        ("@daily", ["2026-11-02 00:00", "2026-11-03 00:00"]),
        ("@midnight", ["2026-11-02 00:00", "2026-11-03 00:00"]),
        ("@weekly", ["2026-11-08 00:00", "2026-11-15 00:00"]),
        ("@monthly", ["2026-12-01 00:00", "2027-01-01 00:00"]),
        ("@yearly", ["2027-01-01 00:00", "2028-01-01 00:00"]),
        ("@Annually", ["2027-01-01 00:00", "2028-01-01 00:00"]),
        ("2nd Tuesday 01:00", ["2026-11-10 01:00", "2026-12-08 01:00"]),
        ("last Friday 18:30", ["2026-11-27 18:30", "2026-12-25 18:30"]),
        ("first monday 9:00", ["2026-11-02 09:00", "2026-12-07 09:00"]),
        ("third Wed of March and September at 12:00", ["2027-03-17 12:00", "2027-09-15 12:00"]),
        ("5th mon of the month, at 07:00", ["2026-11-30 07:00", "2027-03-29 07:00"]),
        ("last day of February 23:59", ["2027-02-28 23:59", "2028-02-29 23:59"]),
        ("last day 00:00", ["2026-11-30 00:00", "2026-12-31 00:00"]),
    ],
)
def test_an_expression_is_due_at_its_times(expression, due):
    assert first_two(expression) == due


@pytest.mark.parametrize(
    ("expression", "due"),
    [
        ("0 9 13 * fri", ["2026-11-06 09:00", "2026-11-13 09:00"]),
        ("0 9 4 * tue#2", ["2026-11-04 09:00", "2026-11-10 09:00"]),
    ],
)
def test_of_two_day_fields_that_are_both_restricted_one_is_enough(expression, due):
    assert first_two(expression) == due


def test_a_day_field_that_begins_with_a_star_restricts_together_with_the_other_as_in_cron():
    assert first_two("0 9 */2 * mon") == ["2026-11-09 09:00", "2026-11-23 09:00"]


@pytest.mark.parametrize(
    ("expression", "parts"),
    [
        ("60 * * * *", ["minute '60'", "0 to 59"]),
        ("-1 * * * *", ["minute"]),
        ("1,,2 * * * *", ["minute"]),
        ("5- * * * *", ["minute"]),
        ("1-2-3 * * * *", ["minute '2-3'"]),
        ("30-10 * * * *", ["minute '30-10'"]),
        ("*/90 * * * *", ["minute '*/90'"]),
        ("*/0 * * * *", ["minute '*/0'"]),
        ("5/15 * * * *", ["minute '5/15'"]),
        ("\N{ARABIC-INDIC DIGIT ONE} * * * *", ["minute"]),
        ("*/\N{ARABIC-INDIC DIGIT ONE} * * * *", ["minute"]),
        ("a\0 * * * *", ["minute 'a\\x00'"]),
        ("0 24 * * *", ["hour '24'", "0 to 23"]),
        ("0 0 0 * *", ["day of the month '0'", "1 to 31"]),
        ("0 0 32 * *", ["day of the month '32'"]),
        ("0 0 * 13 *", ["month '13'", "1 to 12 or jan to dec"]),
        ("0 0 * janu *", ["month 'janu'"]),
        ("0 0 * * 8", ["day of the week '8'", "sun to sat"]),
        ("0 0 * * tue#6", ["day of the week 'tue#6'"]),
        ("0 0 * * #2", ["day of the week ''"]),
        ("0 0 * * mon-fri#2", ["day of the week 'mon-fri'"]),
        (
            "0 0 30 2 *",
            ["no year has a day of the month '30' in the month '2'", "L is the last"],
        ),
        ("0 0 31 4,6,9,11 *", ["'31'"]),
        ("0 0 */16 * sun#L", ["day of the month '*/16'", "day of the week 'sun#l'"]),
        ("* * * *", ["4 fields", "five"]),
        ("", ["0 fields"]),
        ("0 0 1 1 * 2026", ["6 fields"]),
        ("@reboot", ["'@reboot'", "@hourly"]),
        ("6th tuesday 01:00", ["'6th'", "fifth"]),
        ("2nd tuesdy 01:00", ["'tuesdy' is no weekday", "tuesday"]),
        ("2nd tuesday of marzo 01:00", ["'marzo' is no month", "march"]),
        ("2nd tuesday 25:00", ["hour '25'"]),
        ("2nd tuesday", ["2 fields", "2nd Tuesday 01:00"]),
    ],
)
def test_an_invalid_expression_is_refused_with_the_field_its_value_and_the_grammar(expression, parts):
    with pytest.raises(BadSchedule) as refused:
        cron(expression)

    assert repr(expression) in str(refused.value)
    assert [part for part in parts if part not in str(refused.value)] == []


@pytest.mark.parametrize(
    ("zone", "fix"),
    [
        ("europe/madrid", "'Europe/Madrid'"),
        ("Europe/Madird", "'Europe/Madrid'"),
        ("Europe", "Europe/"),
        ("", "Europe/Madrid"),
        ("../../etc/passwd", "Europe/Madrid"),
        ("\0", "Europe/Madrid"),
    ],
)
def test_a_zone_that_does_not_exist_is_refused_with_the_nearest_one(zone, fix):
    with pytest.raises(BadSchedule, match="no time zone") as refused:
        cron("@daily", timezone=zone)

    assert fix in str(refused.value)


def test_a_schedule_that_is_no_string_is_refused():
    with pytest.raises(BadSchedule, match="five fields"):
        cron(5)


def test_two_ways_to_say_the_same_are_equal():
    assert cron("@daily") == cron("0 0 * * *")
    assert hash(cron("@daily")) == hash(cron("0 0 * * *"))
    assert cron("@daily") != cron("@daily", timezone="Europe/Madrid")
    assert cron("@daily") != "@daily"


def test_a_schedule_survives_pickling():
    schedule = cron("2nd Tuesday 01:00", timezone="Europe/Madrid")

    again = pickle.loads(pickle.dumps(schedule))

    assert again == schedule
    assert again.zone.key == "Europe/Madrid"


def test_a_schedule_has_a_readable_repr():
    assert repr(cron("@daily")) == "cron('@daily')"
    assert str(cron("@daily")) == "@daily"
    assert str(cron("last Friday 18:30", timezone="Europe/Madrid")) == "last Friday 18:30 (Europe/Madrid)"
