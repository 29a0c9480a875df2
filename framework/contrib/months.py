"""Calendar months: how long ago six of them began, and which one is over."""

from calendar import monthrange
from datetime import date, datetime, timedelta

__all__ = ["last_month_over", "months_before"]


def months_before(moment: datetime, months: int) -> datetime:
    """The same day and time ``months`` months earlier; the month's last day where it has no such day.

    >>> months_before(datetime(2026, 8, 31, 1), 6)
    datetime.datetime(2026, 2, 28, 1, 0)

    Raises:
        ValueError: that is before the year 1.
    """
    year, month = divmod(moment.year * 12 + moment.month - 1 - months, 12)
    if year < 1:
        raise ValueError(f"{months} months before {moment.date()} there is no calendar.")
    return moment.replace(year=year, month=month + 1, day=min(moment.day, monthrange(year, month + 1)[1]))


def last_month_over(day: date) -> tuple[int, int]:
    """Year and month of the last month that has ended when ``day`` has.

    >>> last_month_over(date(2026, 1, 30)), last_month_over(date(2026, 1, 31))
    ((2025, 12), (2026, 1))
    """
    end = (day + timedelta(days=1)).replace(day=1) - timedelta(days=1)
    return end.year, end.month
