"""Descriptions of schedules, for the command line and logs."""

from collections.abc import Sequence
from datetime import timedelta, tzinfo

from celery.schedules import BaseSchedule, crontab, schedule

from framework.schedule.cron import cron

__all__ = ["describe_schedule", "listed"]

#: The most names in one line of the log.
MOST_LISTED = 20


def describe_schedule(when: BaseSchedule, zone: tzinfo | None = None) -> str:
    """Return a schedule in one line, the same in every process.

    >>> from framework.schedule.next_run import as_schedule
    >>> describe_schedule(as_schedule(30))
    'every 30 s'
    >>> describe_schedule(as_schedule("0 1 * * tue#2", timezone="Europe/Madrid"))
    '0 1 * * tue#2 (Europe/Madrid)'

    Args:
        when: the schedule.
        zone: the time zone where the schedule does not name its own; left out where None.
    """
    if type(when) is schedule:
        period: timedelta = vars(when)["run_every"]
        return f"every {period.total_seconds():g} s"
    if not isinstance(when, cron | crontab):
        words = repr(when).strip("<>")
        return type(when).__qualname__ if " at 0x" in words else words
    words = when.expression if isinstance(when, cron) else repr(when).strip("<>")
    named = getattr(when, "zone", None) or zone
    return f"{words} ({named})" if named else words


def listed(names: Sequence[str]) -> str:
    """Return names of entries for a line of the log."""
    more = len(names) - MOST_LISTED
    return ", ".join(map(repr, names[:MOST_LISTED])) + (f" and {more} more" if more > 0 else "")
