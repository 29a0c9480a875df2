"""A schedule in words, as people are shown it."""

from datetime import timedelta, tzinfo

from celery.schedules import BaseSchedule, crontab, schedule

from framework.schedule.cron import cron

__all__ = ["describe_schedule"]


def describe_schedule(when: BaseSchedule, zone: tzinfo | None = None) -> str:
    """A schedule in one line, the same in every process.

    >>> from framework.schedule.next_run import as_schedule
    >>> in_words(as_schedule(30))
    'every 30 s'
    >>> in_words(as_schedule("0 1 * * tue#2", timezone="Europe/Madrid"))
    '0 1 * * tue#2 (Europe/Madrid)'

    Args:
        when: the schedule.
        zone: whose clock is meant where it does not name its own; left out where None.
    """
    if type(when) is schedule:
        period: timedelta = vars(when)["run_every"]
        return f"every {period.total_seconds():g} s"
    if not isinstance(when, cron | crontab):
        words = repr(when).strip("<>")
        return type(when).__qualname__ if " at 0x" in words else words
    words = when.expression if isinstance(when, cron) else repr(when).strip("<>")
    meant = getattr(when, "zone", None) or zone
    return f"{words} ({meant})" if meant else words
