"""From what a clock on the wall shows to instants: five fields of a calendar, and when they are met in a zone.

Two kinds of entries meet a change of the clock in two ways, as in cron:

- one that runs all day long (its minute or hour is ``*`` or ``*/n``) follows what the clock shows: what it shows twice
  is run twice, what it never shows is not run;
- one at fixed times runs once for each of them: what is shown twice is run the first time, and what is never shown is
  run at the instant that would have been it, had the clock not been changed.
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
#: Longer than any zone has ever moved its clocks at once (Samoa and Kiribati skipped a whole day).
MOST = timedelta(hours=25)
LONGEST = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True)
class Fields:
    """What the clock on the wall and the calendar must show.

    Attributes:
        minutes: in order.
        hours: in order.
        days: of the month; ``LAST`` is its last one.
        months: 1 to 12.
        weekdays: each with which one of the month: ``(2, 0)`` is every Tuesday, ``(2, 1)`` the first, ``(2, LAST)``
            the last. Sunday is 0.
        either: a day is met if it is one of ``days`` or one of ``weekdays``; otherwise it must be both.
        all_day: follows the clock through its changes (see this module's beginning).
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
        """Whether there is such a day in any year. Every month begins with every weekday, sooner or later."""
        lengths = {LONGEST[month] for month in self.months}
        return any(days and length in lengths for (_, length), days in self._days.items())

    def shown_from(self, low: datetime) -> datetime | None:
        """The first time at or after ``low`` that meets them, both without a zone; None after the year 9999."""
        low = low if low.second == low.microsecond == 0 else low.replace(second=0, microsecond=0) + MINUTE
        clock = self._time_from(low.hour, low.minute) if self._met(low) else None
        if clock:
            return datetime.combine(low, clock)
        day = self._day_from(low.date() + timedelta(days=1)) if self._met(low) else self._day_from(low.date())
        return None if day is None else datetime.combine(day, time(self.hours[0], self.minutes[0]))

    def _time_from(self, hour: int, minute: int) -> time | None:
        later = bisect_left(self.minutes, minute)
        if hour in self.hours and later < len(self.minutes):
            return time(hour, self.minutes[later])
        next_hour = bisect_left(self.hours, hour + 1)
        return time(self.hours[next_hour], self.minutes[0]) if next_hour < len(self.hours) else None

    def _met(self, day: date) -> bool:
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
        """The days that meet them in each kind of month: what weekday it begins with (Monday is 0) and its length."""
        return {
            (begin, length): tuple(day for day in range(1, length + 1) if self._meets(begin, length, day))
            for begin in range(7)
            for length in range(28, 32)
        }

    def _meets(self, begin: int, length: int, day: int) -> bool:
        by_day = day in self.days or (day == length and LAST in self.days)
        weekday = (begin + day) % 7
        which = {0, (day + 6) // 7, *((LAST,) if day + 7 > length else ())}
        by_weekday = any((weekday, one) in self.weekdays for one in which)
        return by_day or by_weekday if self.either else by_day and by_weekday


def next_time(fields: Fields, after: datetime, zone: tzinfo) -> datetime | None:
    """The first instant strictly later than ``after`` at which the fields are met in ``zone``.

    Args:
        fields: what must be shown.
        after: with a zone, any.
        zone: whose clock shows it.

    Returns:
        In UTC; None after the year 9999.
    """
    follow = _next_shown if fields.all_day else _next_fixed
    try:
        return follow(fields, after.astimezone(UTC), zone)
    except OverflowError:
        return None


def _next_shown(fields: Fields, after: datetime, zone: tzinfo) -> datetime | None:
    begin = after + timedelta.resolution
    while (shown := fields.shown_from(_shown(begin, zone))) is not None:
        due = _instant(shown, _offset(begin, zone))
        horizon = min(due, begin + 2 * MOST)
        if _offset(horizon, zone) != _offset(begin, zone):
            begin = _change(begin, horizon, zone)
        elif due == horizon:
            return due
        else:
            begin = max(horizon, due - 2 * MOST)
    return None


def _next_fixed(fields: Fields, after: datetime, zone: tzinfo) -> datetime | None:
    low = _shown(after, zone) + min(_offset(after - MOST, zone) - _offset(after, zone), timedelta())
    due = None
    for shown in _shown_since(fields, low):
        instant = _fixed(shown, zone)
        if instant > after:
            due = min(due or instant, instant)
        # Until the clock shows more than that: a time that is never shown is run after some that stand later on it.
        if due and _shown(due, zone) <= shown:
            break
    return due


def _shown_since(fields: Fields, low: datetime) -> Iterator[datetime]:
    while (shown := fields.shown_from(low)) is not None:
        yield shown
        low = shown + MINUTE


def _fixed(shown: datetime, zone: tzinfo) -> datetime:
    # Of a time shown twice the first; of one never shown, with the offset from before the change: fold=0 says both.
    return shown.replace(tzinfo=zone, fold=0).astimezone(UTC)


def _instant(shown: datetime, offset: timedelta) -> datetime:
    return (shown - offset).replace(tzinfo=UTC)


def _shown(instant: datetime, zone: tzinfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def _offset(instant: datetime, zone: tzinfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta()


def _change(begin: datetime, end: datetime, zone: tzinfo) -> datetime:
    """The instant between the two at which the clocks of the zone are changed; clocks are changed at whole seconds."""
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
