"""The leader's agenda: the next slots of all entries, the earliest first."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from heapq import heappop, heappush
from typing import NamedTuple

from framework.schedule.entries import Entry
from framework.schedule.misfire import DueSlot, next_due_slot
from framework.schedule.state import ScheduleState

__all__ = ["Agenda", "Retry"]

#: The delay after which an entry is retried whose task could not be sent; it doubles up to the longest.
RETRY_DELAY = timedelta(seconds=5)
LONGEST_RETRY_DELAY = timedelta(seconds=60)

#: How old a slot may be that was looked up: later, the entry may have to pass over it.
LOOK_UP_AGE = timedelta(seconds=1)


class Retry(NamedTuple):
    """When an entry is retried whose task could not be sent, and how often that has failed."""

    at: datetime
    failures: int


class Agenda:
    """The next slot of each entry that is not paused.

    Args:
        entries: by name.
        state: their last slots.
        postponed: entries whose task could not be sent; the agenda updates it.
    """

    def __init__(self, entries: Mapping[str, Entry], state: ScheduleState, postponed: dict[str, Retry]) -> None:
        self._entries = entries
        self._state = state
        self._postponed = postponed
        self._next: dict[str, DueSlot | None] = {}
        self._looked_up_at: dict[str, datetime] = {}
        self._stale = set(entries)
        # An item whose time is not that of its entry's next slot is out of date, and is dropped when it comes up.
        self._heap: list[tuple[datetime, str]] = []

    def first(self, now: datetime) -> tuple[Entry, DueSlot] | None:
        """Return the entry that is due first, and its slot; None where no entry is ever due."""
        while self._stale:
            self._look_up(self._stale.pop(), now)
        while self._heap:
            at, name = self._heap[0]
            due = self._next.get(name)
            if due is None or due.at != at:
                heappop(self._heap)
            elif at <= now and now - self._looked_up_at[name] > LOOK_UP_AGE:
                heappop(self._heap)
                self._look_up(name, now)
            else:
                return self._entries[name], due
        return None

    def next_of(self, name: str, now: datetime) -> DueSlot | None:
        """Return the next slot of an entry; None where there is none, or it is paused."""
        if name in self._stale:
            self._stale.remove(name)
            self._look_up(name, now)
        return self._next[name]

    def refresh(self, name: str) -> None:
        """Look up an entry's next slot again: one was run, or the entry was paused, resumed or reset."""
        self._postponed.pop(name, None)
        if name in self._entries:
            self._stale.add(name)

    def refresh_all(self, now: datetime) -> None:
        """Look up every next slot again, and retry at once: the clock was set."""
        self._postponed.update({name: retry._replace(at=now) for name, retry in self._postponed.items()})
        self._stale.update(self._entries)

    def postpone(self, name: str, now: datetime) -> timedelta:
        """Retry an entry after a delay that grows with each failure; return the delay."""
        failures = self._postponed[name].failures if name in self._postponed else 0
        delay = min(RETRY_DELAY * (1 << min(failures, 10)), LONGEST_RETRY_DELAY)
        self._postponed[name] = Retry(now + delay, failures + 1)
        self._stale.add(name)
        return delay

    def is_postponed(self, name: str) -> bool:
        """Return whether the last try to send an entry's task failed."""
        return name in self._postponed

    def _look_up(self, name: str, now: datetime) -> None:
        self._next[name] = due = self._next_slot(name, now)
        self._looked_up_at[name] = now
        if due is not None:
            heappush(self._heap, (due.at, name))

    def _next_slot(self, name: str, now: datetime) -> DueSlot | None:
        state = self._state.entries[name]
        due = None if state.paused else next_due_slot(self._entries[name], state.last or now, now)
        if due is None or name not in self._postponed:
            return due
        return due._replace(at=max(due.at, self._postponed[name].at))
