"""Which slot of an entry is next, and which of those that were missed are made up for; pure arithmetic."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from framework.schedule.entries import Entry

__all__ = ["GRACE_SECONDS", "Due", "upcoming"]


#: Seconds for which a slot is only late, not missed, where just the latest one is wanted: a fail-over or a restart of
#: the broker passes, and nothing is left out.
GRACE_SECONDS = 60.0

#: More than any calendar repeats after.
LONG = timedelta(days=366 * 30)


class Due(NamedTuple):
    """A slot, and when its task is to be sent: some seconds later, where the entry has jitter."""

    at: datetime
    slot: datetime


def upcoming(entry: Entry, last: datetime, now: datetime) -> Due | None:
    """The next slot after ``last`` that is to run, be it overdue or to come; None where there is none any more.

    Slots that the entry's ``missed`` leaves out are passed over. A clock that was set back changes nothing: no slot up
    to ``last`` comes again.
    """
    if entry.missed == "all":
        return next(_slots(entry, last), None)
    horizon = GRACE_SECONDS if entry.missed == "latest" else float(entry.missed)
    start = max(last, now - timedelta(seconds=horizon + entry.jitter))
    first = next(_slots(entry, start), None)
    if entry.missed == "latest" and start > last and (first is None or first.at > now):
        return _latest(entry, last, start) or first
    return first


def _slots(entry: Entry, after: datetime) -> Iterator[Due]:
    slot = entry.slot_after(after)
    while slot is not None:
        yield Due(slot + timedelta(seconds=entry.delay_of(slot)), slot)
        slot = entry.slot_after(slot)


def _latest(entry: Entry, last: datetime, until: datetime) -> Due | None:
    """The last slot in between, looked for backwards in steps that double."""
    step = timedelta(seconds=GRACE_SECONDS)
    while step < LONG:
        start = max(last, until - step)
        found = None
        for due in _slots(entry, start):
            if due.slot > until:
                break
            found = due
        if found or start == last:
            return found
        step *= 2
    return None
