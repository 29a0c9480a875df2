"""The entries of the schedule, read from the configuration and checked before anything is started."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from difflib import get_close_matches
from typing import Any, Literal

from celery import Celery
from celery.beat import BeatLazyFunc
from celery.schedules import BaseSchedule, crontab

from framework.errors import BadEntries, FrameworkError, UnknownEntry
from framework.schedule.description import describe_schedule
from framework.schedule.encoding import check_call
from framework.schedule.next_run import as_schedule, jitter_of, next_due, period_of

__all__ = ["Entry", "entries_of", "entry_named"]

#: The keys of an entry.
KEYS = ("task", "schedule", "args", "kwargs", "options", "relative", "timezone", "jitter", "missed")

#: The keys that Celery does not have; ``add_periodic_task`` passes them among the options.
OURS = ("timezone", "jitter", "missed")

#: The most slots of a calendar that are counted one by one.
MOST_COUNTED = 1000

Missed = Literal["all", "latest"] | float

CLEANUP = {"task": "celery.backend_cleanup", "schedule": crontab("0", "4", "*"), "options": {"expires": 12 * 3600}}


@dataclass(frozen=True)
class Entry:
    """A task and when it is due.

    Args:
        name: the entry's name.
        task: the task's full name.
        schedule: when it is due.
        zone: the time zone of the schedule.
        jitter: seconds over which servers of many projects spread it.
        missed: which missed slots are run after an outage: ``all``, the ``latest``, or those of so many seconds.
        args: of the call.
        kwargs: of the call.
        options: of ``apply_async``.
    """

    name: str
    task: str
    schedule: BaseSchedule
    zone: tzinfo
    jitter: float = 0.0
    missed: Missed = "latest"
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def slot_after(self, time: datetime) -> datetime | None:
        """Return the first slot strictly later than ``time``, in UTC; None where there is none."""
        return next_due(self.schedule, time, self.zone)

    def delay_of(self, slot: datetime) -> float:
        """Return the seconds by which a slot's task is delayed, the same on every server."""
        return jitter_of(self.name, slot, self.jitter) if self.jitter else 0.0

    def count_between(self, after: datetime, slot: datetime) -> int:
        """Return how many slots lie strictly between two times; at most `MOST_COUNTED`, but for intervals."""
        period = period_of(self.schedule)
        if period is not None:
            return max((slot - after - timedelta.resolution) // period, 0)
        count, found = 0, self.slot_after(after)
        while found is not None and found < slot and count < MOST_COUNTED:
            count, found = count + 1, self.slot_after(found)
        return count

    @property
    def when(self) -> str:
        """The schedule in one line."""
        return describe_schedule(self.schedule, self.zone)

    @property
    def fingerprint(self) -> str:
        """A digest that differs where anything about the entry does."""
        how = [self.task, self.args, self.kwargs, self.options, self.jitter, self.missed]
        return _digest([*how, self.timing])

    @property
    def timing(self) -> str:
        """A digest that differs where the slots do."""
        return _digest([self.when, str(self.zone)])

    def call(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of a call made now."""
        kwargs = {name: _evaluated(value) for name, value in self.kwargs.items()}
        return tuple(_evaluated(value) for value in self.args), kwargs


def entries_of(app: Celery) -> dict[str, Entry]:
    """Return the entries of an application by name: its ``beat_schedule``, ``add_periodic_task``'s and Celery's own.

    The task modules must have been imported.

    Raises:
        BadEntries: some are invalid: an unknown task or key, arguments that do not fit, no schedule or zone, options
            that AMQP cannot encode.
    """
    found: dict[str, Entry] = {}
    faults: list[str] = []
    for name, given in {**_celerys_own(app), **app.conf.beat_schedule}.items():
        try:
            found[str(name)] = _entry(app, str(name), given)
        except FrameworkError as exc:
            faults.append(exc.message if repr(name) in exc.message else f"The entry {name!r}: {exc.message}")
    if faults:
        raise BadEntries.of(faults)
    return found


def entry_named(name: str, entries: Mapping[str, Entry]) -> Entry:
    """Return the entry of that name.

    Raises:
        UnknownEntry: there is none; the message has the nearest name.
    """
    if name not in entries:
        raise UnknownEntry.named(name, entries)
    return entries[name]


def _celerys_own(app: Celery) -> dict[str, Mapping[str, Any]]:
    """Return the entry that Celery adds where a task has to delete expired results."""
    backend: Any = app.backend
    needed = app.conf.result_expires and not backend.supports_autoexpire
    return {"celery.backend_cleanup": CLEANUP} if needed else {}


def _entry(app: Celery, name: str, given: Any) -> Entry:
    if not isinstance(given, Mapping):
        raise FrameworkError(f"The entry {name!r} is {given!r}, and must be a mapping with 'task' and 'schedule'.")
    options = dict(given.get("options") or {})
    fields = {**{key: options.pop(key) for key in OURS if key in options}, **given}
    _check_keys(name, fields)
    args, kwargs = tuple(fields.get("args") or ()), dict(fields.get("kwargs") or {})
    schedule = as_schedule(fields["schedule"], timezone=fields.get("timezone"), entry=name)
    task = _task(app, fields["task"], args, kwargs)
    check_call(app, name, task, args, kwargs, options)
    return Entry(
        name=name,
        task=task,
        schedule=schedule,
        zone=getattr(schedule, "zone", None) or app.timezone,
        jitter=_seconds(name, "jitter", fields.get("jitter") or 0.0, least=0.0),
        missed=_missed(name, fields.get("missed", "latest")),
        args=args,
        kwargs=kwargs,
        options=options,
    )


def _check_keys(name: str, fields: Mapping[str, Any]) -> None:
    for key in fields:
        if key not in KEYS:
            close = get_close_matches(str(key), KEYS, n=1)
            fix = f"Did you mean {close[0]!r}?" if close else f"There are {', '.join(KEYS)}."
            raise FrameworkError(f"The entry {name!r} has the unknown key {key!r}. {fix}")
    for key in ("task", "schedule"):
        if not fields.get(key):
            raise FrameworkError(f"The entry {name!r} has no {key!r}.")


def _task(app: Celery, task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    name = str(getattr(task, "name", task))
    check = getattr(app, "check_call", None)  # a plain Celery application has none
    return str(check(name, args, kwargs)) if check else name


def _missed(name: str, given: Any) -> Missed:
    if given == "all":
        return "all"
    if given == "latest":
        return "latest"
    if isinstance(given, str):
        raise FrameworkError(f"The entry {name!r} has missed={given!r}. It is 'all', 'latest', or a number of seconds.")
    return _seconds(name, "missed", given, least=1.0)


def _seconds(name: str, key: str, given: Any, *, least: float) -> float:
    given = given.total_seconds() if hasattr(given, "total_seconds") else given
    if isinstance(given, bool) or not isinstance(given, int | float) or not least <= given < float("inf"):
        raise FrameworkError(f"The entry {name!r} has {key}={given!r}. It is a number of seconds from {least:g} on.")
    return float(given)


def _evaluated(value: Any) -> Any:
    return value() if isinstance(value, BeatLazyFunc) else value


def _digest(value: Any) -> str:
    try:
        text = json.dumps(value, sort_keys=True, default=_stable)
    except (TypeError, ValueError):  # keys of several types, or a list in itself
        text = repr(value)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _stable(value: Any) -> str:
    """Return a value as text that is the same in every process."""
    words = repr(value)
    return type(value).__qualname__ if " at 0x" in words else words
