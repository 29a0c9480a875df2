"""When an entry is due: arithmetic alone, without an application and without a clock."""

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from hashlib import blake2b
from typing import Any, TypeVar, cast

from celery.schedules import BaseSchedule, crontab, solar
from celery.schedules import schedule as interval

from framework.errors import BadSchedule
from framework.schedule.cron import cron, zone_called
from framework.schedule.wall_clock import Fields, next_time

__all__ = ["as_schedule", "jitter_of", "next_due"]


Kind = TypeVar("Kind", bound=BaseSchedule)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
KINDS = "It takes seconds, a timedelta, a cron line or words in a string, or one of Celery's schedules."


def next_due(schedule: BaseSchedule, after: datetime, zone: tzinfo) -> datetime | None:
    """The first instant strictly later than ``after`` at which ``schedule`` is due.

    Intervals are due at the multiples of their period since 1970, so every server finds the same instants.
    A schedule of another class is asked its ``remaining_estimate(after)``; it must take the present from its own
    ``now()``, as Celery's do, and answer the same for the same ``after``.

    Args:
        schedule: as made by `as_schedule`, or any of Celery's.
        after: with a zone, any.
        zone: whose clock is meant where the schedule does not name its own.

    Returns:
        In UTC; None if it is never due again.
    """
    if isinstance(schedule, cron):
        return next_time(schedule.fields, after, schedule.zone or zone)
    if _answers_as(schedule, crontab):
        return next_time(_fields(schedule), after, getattr(schedule, "zone", zone))
    if _answers_as(schedule, interval):
        return _next_multiple(schedule, after)
    return _next_asked(schedule, after, zone)


def as_schedule(value: object, *, timezone: str | None = None, entry: str = "") -> BaseSchedule:
    """What an entry's ``schedule`` means.

    Args:
        value: seconds, a timedelta, a string (a cron line or words), or one of Celery's schedules.
        timezone: the name of the zone whose clock is meant; the application's if None.
        entry: the entry's name, for the error.

    Raises:
        BadSchedule: it means nothing, is never due, or has a zone that does not exist or that it cannot have.
    """
    try:
        return _meant(value, timezone)
    except BadSchedule as exc:
        if not entry:
            raise
        raise BadSchedule.in_entry(entry, exc) from exc


def jitter_of(entry: str, slot: datetime, jitter: float) -> float:
    """How many seconds after its slot an entry is run: the same on every server, in [0, ``jitter``).

    Args:
        entry: the entry's name.
        slot: when it is due, with a zone, any.
        jitter: the most that it may be, in seconds.
    """
    key = f"{entry}\0{slot.astimezone(UTC).isoformat()}".encode()
    return jitter * int.from_bytes(blake2b(key, digest_size=4).digest()) / 2**32


def _meant(value: object, timezone: str | None) -> BaseSchedule:
    if isinstance(value, str):
        return cron(value, timezone)
    if isinstance(value, cron):
        return _cron_in(value, timezone)
    if isinstance(value, crontab) and _answers_as(value, crontab):
        return _crontab_in(value, timezone)
    if timezone is not None:
        raise BadSchedule.of(value, f"the time zone {timezone!r} means nothing to it", "Leave `timezone` out.")
    if isinstance(value, BaseSchedule) and not _answers_as(value, interval):
        return value
    return _repeating(value)


def _cron_in(value: cron, timezone: str | None) -> cron:
    if timezone in (None, value.timezone):
        return value
    if value.timezone is not None:
        raise BadSchedule.of(
            value, f"its entry has the time zone {timezone!r} and it has another", "Leave one of them out."
        )
    return cron(value.expression, timezone, nowfun=value.nowfun)


def _crontab_in(value: crontab, timezone: str | None) -> crontab:
    if not _fields(value).possible:
        raise BadSchedule.of(value, "no year has such a day", "Give a day that exists.")
    if timezone is None:
        return value
    zone = zone_called(timezone, value)
    return _like(value, zone=zone, tz=zone)


def _repeating(value: object) -> interval:
    try:
        made: Any = value if isinstance(value, interval) else interval(_period(value))
    except OverflowError as exc:
        raise BadSchedule.of(value, "it is longer than can be counted", KINDS) from exc
    if not made.run_every or made.run_every < timedelta.resolution:
        raise BadSchedule.of(value, "it must be longer than 0 seconds", KINDS)
    return cast(interval, made)


def _period(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value:
        return timedelta(seconds=value)
    raise BadSchedule.of(value, "it is no schedule", KINDS)


def _next_multiple(schedule: Any, after: datetime) -> datetime | None:
    period: timedelta = schedule.run_every
    try:
        return EPOCH + period * ((after - EPOCH) // period + 1)
    except OverflowError:
        return None


def _next_asked(schedule: BaseSchedule, after: datetime, zone: tzinfo) -> datetime | None:
    if isinstance(schedule, solar):
        return _next_solar(schedule, after, zone)
    due = _asked(schedule, after, zone)
    if due <= after:
        raise BadSchedule.of(schedule, f"after {after} it is due at {due}, which is not later", "Let it go on.")
    return due


def _next_solar(schedule: solar, after: datetime, zone: tzinfo) -> datetime:
    # Where the sun stands is found to some milliseconds, and differently from each beginning: whole minutes agree.
    found = _asked(schedule, _minute_of(after) + MINUTE / 2, zone)
    return _minute_of(found + MINUTE / 2)


def _minute_of(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(second=0, microsecond=0)


def _asked(schedule: BaseSchedule, after: datetime, zone: tzinfo) -> datetime:
    asked = _like(schedule, nowfun=lambda: after, tz=zone)
    return (after + asked.remaining_estimate(after)).astimezone(UTC)


def _like(schedule: Kind, **changed: Any) -> Kind:
    twin = object.__new__(type(schedule))
    vars(twin).update(vars(schedule) | changed)
    return twin


def _answers_as(schedule: BaseSchedule, kind: type[BaseSchedule]) -> bool:
    """Whether it is of that kind, and no subclass with answers of its own."""
    own = type(schedule)
    return isinstance(schedule, kind) and own.remaining_estimate is kind.remaining_estimate


def _fields(schedule: Any) -> Fields:
    minute, hour, *_ = schedule.__reduce__()[1]  # the fields as they were written, of which only pickle tells
    follows = any(str(field).startswith("*") for field in (minute, hour))
    return _both_days(
        frozenset(schedule.minute),
        frozenset(schedule.hour),
        frozenset(schedule.day_of_month),
        frozenset(schedule.month_of_year),
        frozenset(schedule.day_of_week),
        follows or len(schedule.minute) == 60 or len(schedule.hour) == 24,
    )


@lru_cache(maxsize=1024)
def _both_days(
    minutes: frozenset[int],
    hours: frozenset[int],
    days: frozenset[int],
    months: frozenset[int],
    weekdays: frozenset[int],
    all_day: bool,
) -> Fields:
    return Fields(
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=days,
        months=months,
        weekdays=frozenset((weekday, 0) for weekday in weekdays),
        either=False,
        all_day=all_day,
    )
