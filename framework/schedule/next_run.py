"""The times at which schedules are due: arithmetic, without an application and without a clock."""

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from hashlib import blake2b
from typing import Any, TypeVar, cast

from celery.schedules import BaseSchedule, crontab, solar
from celery.schedules import schedule as interval

from framework.errors import BadSchedule
from framework.schedule.cron import cron, zone_named
from framework.schedule.wall_clock import Fields, next_time

__all__ = ["as_schedule", "jitter_of", "next_due", "period_of"]


Kind = TypeVar("Kind", bound=BaseSchedule)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SCHEDULE_TYPES = "It takes seconds, a timedelta, a cron line or words in a string, or one of Celery's schedules."


def next_due(schedule: BaseSchedule, after: datetime, zone: tzinfo) -> datetime | None:
    """Return the first time strictly later than ``after`` at which ``schedule`` is due.

    Intervals are due at the multiples of their period since 1970, so every server finds the same times. A schedule of
    another class is called with ``remaining_estimate(after)``; it must take the present from its ``now()``, as Celery's
    do, and return the same for the same ``after``.

    Args:
        schedule: as made by `as_schedule`, or any of Celery's.
        after: with any time zone.
        zone: the time zone where the schedule does not name its own.

    Returns:
        The time in UTC; None if it is never due again.
    """
    if isinstance(schedule, cron):
        return next_time(schedule.fields, after, schedule.zone or zone)
    if _behaves_as(schedule, crontab):
        return next_time(_fields(schedule), after, getattr(schedule, "zone", zone))
    if _behaves_as(schedule, interval):
        return _next_multiple(schedule, after)
    return _next_estimated(schedule, after, zone)


def period_of(schedule: BaseSchedule) -> timedelta | None:
    """Return the period of a schedule whose slots are the multiples of one; None of another."""
    return cast(timedelta, vars(schedule)["run_every"]) if _behaves_as(schedule, interval) else None


def as_schedule(value: object, *, timezone: str | None = None, entry: str = "") -> BaseSchedule:
    """Return the schedule that an entry's ``schedule`` stands for.

    Args:
        value: seconds, a timedelta, a string (a cron line or words), or one of Celery's schedules.
        timezone: the name of the time zone; the application's if None.
        entry: the entry's name, for the error.

    Raises:
        BadSchedule: it is no schedule, is never due, or has a zone that does not exist or that it cannot have.
    """
    try:
        return _schedule_of(value, timezone)
    except BadSchedule as exc:
        if not entry:
            raise
        raise BadSchedule.in_entry(entry, exc) from exc


def jitter_of(entry: str, slot: datetime, jitter: float) -> float:
    """Return the seconds by which a slot's task is delayed: the same on every server, in [0, ``jitter``).

    Args:
        entry: the entry's name.
        slot: when it is due, with any time zone.
        jitter: the longest delay, in seconds.
    """
    key = f"{entry}\0{slot.astimezone(UTC).isoformat()}".encode()
    return jitter * int.from_bytes(blake2b(key, digest_size=4).digest()) / 2**32


def _schedule_of(value: object, timezone: str | None) -> BaseSchedule:
    if isinstance(value, str):
        return cron(value, timezone)
    if isinstance(value, cron):
        return _cron_in(value, timezone)
    if isinstance(value, crontab) and _behaves_as(value, crontab):
        return _crontab_in(value, timezone)
    if timezone is not None:
        raise BadSchedule.of(value, f"the time zone {timezone!r} means nothing to it", "Leave `timezone` out.")
    if isinstance(value, BaseSchedule) and not _behaves_as(value, interval):
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
    zone = zone_named(timezone, value)
    return _copy_of(value, zone=zone, tz=zone)


def _repeating(value: object) -> interval:
    try:
        made: Any = value if isinstance(value, interval) else interval(_period(value))
    except OverflowError as exc:
        raise BadSchedule.of(value, "it is longer than can be counted", SCHEDULE_TYPES) from exc
    if not made.run_every or made.run_every < timedelta.resolution:
        raise BadSchedule.of(value, "it must be longer than 0 seconds", SCHEDULE_TYPES)
    return cast(interval, made)


def _period(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value:
        return timedelta(seconds=value)
    raise BadSchedule.of(value, "it is no schedule", SCHEDULE_TYPES)


def _next_multiple(schedule: Any, after: datetime) -> datetime | None:
    period: timedelta = schedule.run_every
    try:
        return EPOCH + period * ((after - EPOCH) // period + 1)
    except OverflowError:
        return None


def _next_estimated(schedule: BaseSchedule, after: datetime, zone: tzinfo) -> datetime | None:
    if isinstance(schedule, solar):
        return _next_solar(schedule, after, zone)
    due = _estimated(schedule, after, zone)
    if due <= after:
        raise BadSchedule.of(
            schedule, f"after {after} it is due at {due}, which is not later", "Make it return a later time."
        )
    return due


def _next_solar(schedule: solar, after: datetime, zone: tzinfo) -> datetime:
    # The position of the sun is found to some milliseconds, and differs with the start: whole minutes are the same.
    found = _estimated(schedule, _minute_of(after) + MINUTE / 2, zone)
    return _minute_of(found + MINUTE / 2)


def _minute_of(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(second=0, microsecond=0)


def _estimated(schedule: BaseSchedule, after: datetime, zone: tzinfo) -> datetime:
    then = _copy_of(schedule, nowfun=lambda: after, tz=zone)
    return (after + then.remaining_estimate(after)).astimezone(UTC)


def _copy_of(schedule: Kind, **changed: Any) -> Kind:
    twin = object.__new__(type(schedule))
    vars(twin).update(vars(schedule) | changed)
    return twin


def _behaves_as(schedule: BaseSchedule, kind: type[BaseSchedule]) -> bool:
    """Return whether it is of that class, and no subclass that computes its times differently."""
    own = type(schedule)
    return isinstance(schedule, kind) and own.remaining_estimate is kind.remaining_estimate


def _fields(schedule: Any) -> Fields:
    minute, hour, *_ = schedule.__reduce__()[1]  # only pickle has the fields as they were written
    follows = any(str(field).startswith("*") for field in (minute, hour))
    return _fields_from(
        frozenset(schedule.minute),
        frozenset(schedule.hour),
        frozenset(schedule.day_of_month),
        frozenset(schedule.month_of_year),
        frozenset(schedule.day_of_week),
        follows or len(schedule.minute) == 60 or len(schedule.hour) == 24,
    )


@lru_cache(maxsize=1024)
def _fields_from(
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
