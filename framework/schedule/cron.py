"""Celery schedules from cron expressions and from words such as ``2nd Tuesday 01:00``."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from difflib import get_close_matches
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from celery.schedules import BaseSchedule, schedstate

from framework.errors import BadSchedule
from framework.schedule.wall_clock import LAST, Fields, next_time

__all__ = ["cron", "fields_of", "zone_named"]

MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
ORDINALS = ("first", "second", "third", "fourth", "fifth")
WHICH = {**{word: n for n, word in enumerate(ORDINALS, 1)}, "1st": 1, "2nd": 2, "3rd": 3, "4th": 4, "5th": 5}

NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

WORDS = re.compile(
    r"(?P<which>[a-z0-9]+) (?P<day>[a-z]+)(?: (?:of|in)(?: (?:the|each|every) month)?)?"
    r"(?P<months>(?:[ ,]+[a-z]+)*?)(?:,? at)? (?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})"
)
FORMS = "Write five fields, `0 1 * * tue#2`, or words, `2nd Tuesday 01:00`, `last Friday of March 18:30`."


class Field(NamedTuple):
    """A field of a cron line: its name, the numbers it takes, and their names."""

    name: str
    least: int
    most: int
    names: Mapping[str, int] = {}
    also: str = ""

    @property
    def grammar(self) -> str:
        """The values that it takes, in a sentence."""
        names = list(self.names)
        named = f" or {names[0]} to {names[-1]}" if names else ""
        return f"It takes {self.least} to {self.most}{named}, *, lists (1,3), ranges (1-3) and steps (*/2){self.also}."


MINUTE = Field("minute", 0, 59)
HOUR = Field("hour", 0, 23)
DAY = Field("day of the month", 1, 31, also=", and L for the last day")
MONTH = Field("month", 1, 12, {name[:3]: number for number, name in enumerate(MONTHS, 1)})
WEEKDAY = Field(
    "day of the week",
    0,
    7,
    {name[:3]: number for number, name in enumerate(WEEKDAYS)},
    ", tue#2 for the second Tuesday and fri#L or 5L for the last Friday (0 and 7 are Sunday)",
)


class cron(BaseSchedule):  # noqa: N801 - as Celery's crontab and solar are called
    """A schedule from a cron line, or from words: ``cron("0 1 * * tue#2", timezone="Europe/Madrid")``.

    It can be used wherever Celery takes a schedule: ``beat_schedule``, ``add_periodic_task``, any beat.

    >>> cron("2nd Tuesday 01:00", timezone="Europe/Madrid")
    cron('2nd Tuesday 01:00', timezone='Europe/Madrid')
    >>> cron("@daily") == cron("0 0 * * *")
    True

    Args:
        expression: five fields as in cron, ``@daily`` and its like, or words.
        timezone: the name of the time zone; the application's if None.
        nowfun: a function that returns the time; the application's if None.
        app: the application; the current one if None.

    Raises:
        BadSchedule: the expression is invalid or names no day of any year, or there is no such zone.
    """

    nowfun: Callable[[], datetime] | None

    def __init__(
        self,
        expression: str,
        timezone: str | None = None,
        nowfun: Callable[[], datetime] | None = None,
        app: Any = None,
    ) -> None:
        self.expression = expression
        self.timezone = timezone
        self.fields = fields_of(expression)
        self.zone = None if timezone is None else zone_named(timezone, expression)
        super().__init__(nowfun=nowfun, app=app)

    @property
    def tz(self) -> tzinfo:  # type: ignore[override]
        """The time zone."""
        return self.zone or self.app.timezone

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """Return the time from now until it is due again after ``last_run_at``; negative if that has passed."""
        due = next_time(self.fields, self.maybe_make_aware(last_run_at), self.tz)
        return (due or datetime.max.replace(tzinfo=UTC)) - self._now()

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Return whether it has become due since ``last_run_at``, and the seconds until the next check.

        A slot more than ``beat_cron_starting_deadline`` seconds ago, if that is set, is not due any more.
        """
        left = self.remaining_estimate(last_run_at).total_seconds()
        if left > 0:
            return schedstate(is_due=False, next=left)
        now = self._now()
        deadline = self.app.conf.beat_cron_starting_deadline
        since = now - timedelta(seconds=deadline, microseconds=1) if deadline is not None else None
        stale = since is not None and self.remaining_estimate(since).total_seconds() > 0
        return schedstate(is_due=not stale, next=max(self.remaining_estimate(now).total_seconds(), 0))

    def _now(self) -> datetime:
        return self.maybe_make_aware(self.now()).astimezone(UTC)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, cron):
            return (self.fields, self.timezone) == (other.fields, other.timezone)
        return NotImplemented

    def __hash__(self) -> int:
        return hash((self.fields, self.timezone))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.expression, self.timezone, self.nowfun)

    def __repr__(self) -> str:
        zone = f", timezone={self.timezone!r}" if self.timezone else ""
        return f"cron({self.expression!r}{zone})"

    def __str__(self) -> str:
        return f"{self.expression} ({self.timezone})" if self.timezone else self.expression


def zone_named(name: str, schedule: object) -> ZoneInfo:
    """Return the time zone of that name.

    Raises:
        BadSchedule: there is none; the message names the ``schedule`` that has it.
    """
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError, TypeError) as exc:
        known = {zone.lower(): zone for zone in available_timezones()}
        close = get_close_matches(str(name).lower(), known, n=1)
        fix = f"Did you mean {known[close[0]]!r}?" if close else "Zones are called as in `Europe/Madrid`."
        if not known:
            fix = "This machine knows no time zones: pip install tzdata."
        raise BadSchedule.of(schedule, f"there is no time zone {name!r}", fix) from exc


def fields_of(expression: str) -> Fields:
    """Return the fields of an expression.

    Raises:
        BadSchedule: the expression is invalid, or names no day of any year.
    """
    return _Parser(expression).fields()


class _Parser:
    """Parses one expression; every error names it."""

    def __init__(self, expression: str) -> None:
        self.expression = expression

    def fields(self) -> Fields:
        if not isinstance(self.expression, str):
            raise self._error("it is no string", FORMS)
        parts = self._line().lower().split()
        if len(parts) != 5:
            raise self._error(f"it has {len(parts)} field{'s'[: len(parts) != 1]}, a cron line has five", FORMS)
        minute, hour, day, month, weekday = parts
        minutes, hours = sorted(self._numbers(minute, MINUTE)), sorted(self._numbers(hour, HOUR))
        fields = Fields(
            minutes=tuple(minutes),
            hours=tuple(hours),
            days=frozenset(self._days(day)),
            months=frozenset(self._numbers(month, MONTH)),
            weekdays=frozenset(self._weekdays(weekday)),
            either=not (day.startswith("*") or weekday.startswith("*")),
            all_day=minute.startswith("*") or hour.startswith("*") or len(minutes) == 60 or len(hours) == 24,
        )
        if not fields.possible:
            raise self._error(
                f"no year has a day of the month {day!r} in the month {month!r} with the day of the week {weekday!r}",
                "Give a day that exists; L is the last one of any month.",
            )
        return fields

    def _line(self) -> str:
        text = " ".join(self.expression.split()).lower()
        if text.startswith("@"):
            if text not in NICKNAMES:
                raise self._error(f"{text!r} is not known", f"There are {', '.join(NICKNAMES)}.")
            return NICKNAMES[text]
        words = WORDS.fullmatch(text)
        return self._line_of_words(words) if words else text

    def _line_of_words(self, words: re.Match[str]) -> str:
        which, day, months, hour, minute = words.group("which", "day", "months", "hour", "minute")
        named = [word for word in re.findall("[a-z]+", months) if word != "and"]
        months = ",".join(self._named(month, MONTHS, "month") for month in named) or "*"
        clock = f"{int(minute)} {int(hour)}"
        if day == "day" and which == "last":
            return f"{clock} L {months} *"
        weekday = self._named(day, WEEKDAYS, "weekday")
        if which != "last" and which not in WHICH:
            raise self._error(f"{which!r} is not known", f"There are {', '.join(WHICH)} and last.")
        return f"{clock} * {months} {weekday}#{'L' if which == 'last' else WHICH[which]}"

    def _named(self, word: str, names: Any, kind: str) -> str:
        for name in names:
            if len(word) >= 3 and name.startswith(word):
                return str(name[:3])
        raise self._error(f"{word!r} is no {kind}", f"There are {', '.join(names)}.")

    def _days(self, text: str) -> Iterator[int]:
        for item in text.split(","):
            yield from [LAST] if item == "l" else self._numbers(item, DAY)

    def _weekdays(self, text: str) -> Iterator[tuple[int, int]]:
        for item in text.split(","):
            day, _, which = re.sub(r"^([0-7])l$", r"\1#l", item).partition("#")
            if not which:
                yield from ((number % 7, 0) for number in self._numbers(item, WEEKDAY))
            elif which in ("1", "2", "3", "4", "5", "l"):
                yield self._number(day, WEEKDAY) % 7, LAST if which == "l" else int(which)
            else:
                raise self._invalid(item, WEEKDAY)

    def _numbers(self, text: str, field: Field) -> set[int]:
        return {number for item in text.split(",") for number in self._range(item, field)}

    def _range(self, item: str, field: Field) -> range:
        span, slash, step = item.partition("/")
        first, dash, last = span.partition("-")
        low = field.least if span == "*" else self._number(first, field)
        high = field.most if span == "*" else self._number(last, field) if dash else low
        if field is WEEKDAY and span == "*":
            high = 6
        if field is WEEKDAY and high == 0 < low:
            high = 7
        if high < low or (slash and not self._is_step(step, span, field)):
            raise self._invalid(item, field)
        return range(low, high + 1, int(step) if slash else 1)

    def _is_step(self, step: str, span: str, field: Field) -> bool:
        return bool(re.fullmatch("[0-9]{1,2}", step)) and 0 < int(step) <= field.most and (span == "*" or "-" in span)

    def _number(self, text: str, field: Field) -> int:
        number = field.names.get(text, int(text) if re.fullmatch("[0-9]{1,2}", text) else -1)
        if not field.least <= number <= field.most:
            raise self._invalid(text, field)
        return number

    def _invalid(self, value: str, field: Field) -> BadSchedule:
        return self._error(f"its {field.name} {value!r} is not understood", field.grammar)

    def _error(self, fault: str, fix: str) -> BadSchedule:
        return BadSchedule.of(self.expression, fault, fix)
