"""From local times to UTC: the five fields of a cron line, and the times at which they match in a time zone.

When the clocks change, there are two kinds of entries, as in cron:

- one that runs all day long (its minute or hour is ``*`` or ``*/n``) follows the local time: a repeated local time runs
  twice, a skipped one does not run;
- one at fixed times runs once for each of them: a repeated local time runs the first time, and a skipped one runs at
  the time that it would have been without the change.
"""

from bisect import bisect_left
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, date, datetime, time, timedelta, tzinfo
from functools import cached_property

__all__ = ["LAST", "Fields", "next_time"]


#: The last day of a month, or the last one of a weekday in it.
LAST = -1

MINUTE = timedelta(minutes=1)
#: Longer than any change of a zone's clocks (Samoa and Kiribati skipped a whole day).
LONGEST_CHANGE = timedelta(hours=25)
#: The greatest number of days of each month.
MONTH_LENGTHS = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True)
class Fields:
    """The five fields of a cron line: the local times that match.

    Attributes:
        minutes: in order.
        hours: in order.
        days: of the month; ``LAST`` is its last one.
        months: 1 to 12.
        weekdays: each with which one of the month: ``(2, 0)`` is every Tuesday, ``(2, 1)`` the first, ``(2, LAST)``
            the last. Sunday is 0.
        either: a day matches if it is one of ``days`` or one of ``weekdays``; otherwise it must be both.
        all_day: the entry follows the local time when the clocks change (see the module's docstring).
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[tuple[int, int]]
    either: bool
    all_day: bool

    @property
    def possible(self) -> bool:
        """Whether any year has such a day; every month begins with every weekday in some year."""
        lengths = {MONTH_LENGTHS[month] for month in self.months}
        return any(days and length in lengths for (_, length), days in self._days.items())

    def first_match(self, low: datetime) -> datetime | None:
        """Return the first local time at or after ``low`` that matches; None after the year 9999."""
        low = low if low.second == low.microsecond == 0 else low.replace(second=0, microsecond=0) + MINUTE
        clock = self._time_from(low.hour, low.minute) if self._matches(low) else None
        if clock:
            return datetime.combine(low, clock)
        day = self._day_from(low.date() + timedelta(days=1)) if self._matches(low) else self._day_from(low.date())
        return None if day is None else datetime.combine(day, time(self.hours[0], self.minutes[0]))

    def _time_from(self, hour: int, minute: int) -> time | None:
        later = bisect_left(self.minutes, minute)
        if hour in self.hours and later < len(self.minutes):
            return time(hour, self.minutes[later])
        next_hour = bisect_left(self.hours, hour + 1)
        return time(self.hours[next_hour], self.minutes[0]) if next_hour < len(self.hours) else None

    def _matches(self, day: date) -> bool:
        return day.month in self.months and day.day in self._days[monthrange(day.year, day.month)]

    def _day_from(self, low: date) -> date | None:
        for year, month in _months_from(low):
            if month in self.months:
                days = self._days[monthrange(year, month)]
                first = bisect_left(days, low.day) if (year, month) == (low.year, low.month) else 0
                if first < len(days):
                    return date(year, month, days[first])
        return None

    @cached_property
    def _days(self) -> dict[tuple[int, int], tuple[int, ...]]:
        """The days that match in each kind of month: the weekday of its first day (Monday is 0), and its length."""
        return {
            (begin, length): tuple(day for day in range(1, length + 1) if self._day_matches(begin, length, day))
            for begin in range(7)
            for length in range(28, 32)
        }

    def _day_matches(self, begin: int, length: int, day: int) -> bool:
        by_day = day in self.days or (day == length and LAST in self.days)
        weekday = (begin + day) % 7
        which = {0, (day + 6) // 7, *((LAST,) if day + 7 > length else ())}
        by_weekday = any((weekday, one) in self.weekdays for one in which)
        return by_day or by_weekday if self.either else by_day and by_weekday


def next_time(fields: Fields, after: datetime, zone: tzinfo) -> datetime | None:
    """Return the first time strictly later than ``after`` at which the local time in ``zone`` matches the fields.

    Args:
        fields: the fields of a cron line.
        after: with any time zone.
        zone: the time zone of the fields.

    Returns:
        The time in UTC; None after the year 9999.
    """
    find = _next_following if fields.all_day else _next_fixed
    try:
        return find(fields, after.astimezone(UTC), zone)
    except OverflowError:
        return None


def _next_following(fields: Fields, after: datetime, zone: tzinfo) -> datetime | None:
    begin = after + timedelta.resolution
    while (local := fields.first_match(_local_time(begin, zone))) is not None:
        due = _in_utc(local, _offset(begin, zone))
        horizon = min(due, begin + 2 * LONGEST_CHANGE)
        if _offset(horizon, zone) != _offset(begin, zone):
            begin = _change(begin, horizon, zone)
        elif due == horizon:
            return due
        else:
            begin = max(horizon, due - 2 * LONGEST_CHANGE)
    return None


def _next_fixed(fields: Fields, after: datetime, zone: tzinfo) -> datetime | None:
    low = _local_time(after, zone) + min(_offset(after - LONGEST_CHANGE, zone) - _offset(after, zone), timedelta())
    due = None
    for local in _matches_from(fields, low):
        utc = _fixed_in_utc(local, zone)
        if utc > after:
            due = min(due or utc, utc)
        # Continue until the local time is later: a skipped time runs after some times that are later on the clock.
        if due and _local_time(due, zone) <= local:
            break
    return due


def _matches_from(fields: Fields, low: datetime) -> Iterator[datetime]:
    while (local := fields.first_match(low)) is not None:
        yield local
        low = local + MINUTE


def _fixed_in_utc(local: datetime, zone: tzinfo) -> datetime:
    # fold=0 is the first of a repeated local time, and the offset from before the change for a skipped one.
    return local.replace(tzinfo=zone, fold=0).astimezone(UTC)


def _in_utc(local: datetime, offset: timedelta) -> datetime:
    return (local - offset).replace(tzinfo=UTC)


def _local_time(utc: datetime, zone: tzinfo) -> datetime:
    return utc.astimezone(zone).replace(tzinfo=None, fold=0)


def _offset(utc: datetime, zone: tzinfo) -> timedelta:
    return utc.astimezone(zone).utcoffset() or timedelta()


def _change(begin: datetime, end: datetime, zone: tzinfo) -> datetime:
    """Return the time between the two at which the zone's clocks change; they change at whole seconds."""
    before = _offset(begin, zone)
    low, high = int(begin.timestamp()), int(end.timestamp())
    while high - low > 1:
        middle = (low + high) // 2
        same = _offset(datetime.fromtimestamp(middle, UTC), zone) == before
        low, high = (middle, high) if same else (low, middle)
    return datetime.fromtimestamp(high, UTC)


def _months_from(low: date) -> Iterator[tuple[int, int]]:
    yield from ((low.year, month) for month in range(low.month, 13))
    yield from ((year, month) for year in range(low.year + 1, MAXYEAR + 1) for month in range(1, 13))
