"""The next slot of an entry, and which of its missed slots are still run; pure arithmetic."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from framework.schedule.entries import Entry

__all__ = ["GRACE_SECONDS", "DueSlot", "next_due_slot"]


#: Seconds for which a slot is late, not missed, with ``missed="latest"``: a fail-over or a restart of the broker takes
#: less, and so skips no slot.
GRACE_SECONDS = 60.0

#: Longer than the time after which any calendar repeats.
LONGEST_SEARCH = timedelta(days=366 * 30)


class DueSlot(NamedTuple):
    """A slot, and when its task is sent: some seconds later, where the entry has jitter."""

    at: datetime
    slot: datetime


def next_due_slot(entry: Entry, last: datetime, now: datetime) -> DueSlot | None:
    """Return the next slot after ``last`` that is to run, overdue or in the future; None where there is none.

    Slots that the entry's ``missed`` excludes are skipped. A clock that was set back changes nothing: no slot up to
    ``last`` is returned again.
    """
    if entry.missed == "all":
        return next(_slots(entry, last), None)
    horizon = GRACE_SECONDS if entry.missed == "latest" else float(entry.missed)
    start = max(last, now - timedelta(seconds=horizon + entry.jitter))
    first = next(_slots(entry, start), None)
    if entry.missed == "latest" and start > last and (first is None or first.at > now):
        return _latest(entry, last, start) or first
    return first


def _slots(entry: Entry, after: datetime) -> Iterator[DueSlot]:
    slot = entry.slot_after(after)
    while slot is not None:
        yield DueSlot(slot + timedelta(seconds=entry.delay_of(slot)), slot)
        slot = entry.slot_after(slot)


def _latest(entry: Entry, last: datetime, until: datetime) -> DueSlot | None:
    """Return the last slot in between; search backwards, in steps that double."""
    step = timedelta(seconds=GRACE_SECONDS)
    while step < LONGEST_SEARCH:
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
