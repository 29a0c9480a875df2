"""Calendar months, at the ends where they are not alike."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from framework.contrib.months import last_month_over, months_before

MADRID = ZoneInfo("Europe/Madrid")


@pytest.mark.parametrize(
    ("day", "months", "before"),
    [
        ("2026-08-31", 6, "2026-02-28"),
        ("2028-08-31", 6, "2028-02-29"),
        ("2026-08-28", 6, "2026-02-28"),
        ("2026-06-30", 6, "2025-12-30"),
        ("2026-07-31", 1, "2026-06-30"),
        ("2026-01-01", 1, "2025-12-01"),
        ("2026-12-31", 12, "2025-12-31"),
        ("2028-02-29", 12, "2027-02-28"),
        ("2026-03-15", 27, "2023-12-15"),
        ("0001-12-31", 11, "0001-01-31"),
    ],
)
def test_the_same_day_months_earlier_or_the_last_that_the_month_has(day, months, before):
    assert months_before(datetime.fromisoformat(day), months) == datetime.fromisoformat(before)


def test_there_are_no_months_before_the_year_one():
    with pytest.raises(ValueError, match="12 months before 0001-12-31"):
        months_before(datetime(1, 12, 31), 12)  # noqa: DTZ001


def test_the_clock_on_the_wall_counts_though_summer_time_came_between():
    now = datetime(2026, 9, 8, 1, 0, tzinfo=MADRID)

    before = months_before(now, 6)

    assert before.astimezone(UTC) == datetime(2026, 3, 8, 0, 0, tzinfo=UTC)
    assert now.astimezone(UTC).hour == 23


@pytest.mark.parametrize(
    ("day", "month"),
    [
        ("2026-01-31", (2026, 1)),
        ("2026-01-30", (2025, 12)),
        ("2026-02-01", (2026, 1)),
        ("2026-02-28", (2026, 2)),
        ("2028-02-28", (2028, 1)),
        ("2028-02-29", (2028, 2)),
        ("2026-12-31", (2026, 12)),
    ],
)
def test_a_month_is_over_at_the_end_of_its_last_day(day, month):
    assert last_month_over(date.fromisoformat(day)) == month
