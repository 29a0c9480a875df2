"""Calendar months, and the check of a number of months or days."""

from calendar import monthrange
from datetime import date, datetime, timedelta

from framework.errors import BadPeriod

__all__ = ["check_period", "last_month_over", "months_before"]


def check_period(name: str, value: object, *, least: int, most: int) -> None:
    """Check a number of months or days.

    Raises:
        BadPeriod: it is no whole number from ``least`` to ``most``; the message has its ``name``.
    """
    if type(value) is not int or not least <= value <= most:
        raise BadPeriod.of(name, value, least=least, most=most)


def months_before(time: datetime, months: int) -> datetime:
    """Return the same day and time ``months`` months earlier; the month's last day where it has no such day.

    >>> months_before(datetime(2026, 8, 31, 1), 6)
    datetime.datetime(2026, 2, 28, 1, 0)

    Raises:
        ValueError: that is before the year 1.
    """
    year, month = divmod(time.year * 12 + time.month - 1 - months, 12)
    if year < 1:
        raise ValueError(f"{months} months before {time.date()} there is no calendar.")
    return time.replace(year=year, month=month + 1, day=min(time.day, monthrange(year, month + 1)[1]))


def last_month_over(day: date) -> tuple[int, int]:
    """Return year and month of the last month that has ended when ``day`` has.

    >>> last_month_over(date(2026, 1, 30)), last_month_over(date(2026, 1, 31))
    ((2025, 12), (2026, 1))
    """
    end = (day + timedelta(days=1)).replace(day=1) - timedelta(days=1)
    return end.year, end.month
