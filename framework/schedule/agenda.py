"""The leader's agenda: the earliest of the next slots of all entries."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from framework.schedule.entries import Entry
from framework.schedule.misfire import DueSlot, next_due_slot
from framework.schedule.state import ScheduleState

__all__ = ["Agenda"]

#: The delay after which an entry is retried whose task could not be sent.
RETRY_DELAY = timedelta(seconds=5)


class Agenda:
    """The next slot of each entry that is not paused.

    Args:
        entries: by name.
        state: their last slots.
        postponed: entries whose task could not be sent, each with the time of its retry; the agenda updates it.
    """

    def __init__(self, entries: Mapping[str, Entry], state: ScheduleState, postponed: dict[str, datetime]) -> None:
        self._entries = entries
        self._state = state
        self._next: dict[str, DueSlot | None] = {}
        self._postponed = postponed

    def first(self, now: datetime) -> tuple[Entry, DueSlot] | None:
        """Return the entry that is due first, and its slot; None where no entry is ever due."""
        while (name := self._earliest(now)) is not None:
            found = self._next[name]
            assert found is not None  # noqa: S101
            if found.at > now or name in self._postponed:
                return self._entries[name], self._with_delay(name, found)
            # It may have been computed long ago: the process was stopped, or its clock was set.
            if (again := self._look_up(name, now)) == found:
                return self._entries[name], found
            self._next[name] = again
        return None

    def next_of(self, name: str, now: datetime) -> DueSlot | None:
        """Return the next slot of an entry; None where there is none, or it is paused."""
        if self._state.entries[name].paused:
            return None
        if name not in self._next:
            self._next[name] = self._look_up(name, now)
        return self._next[name]

    def refresh(self, name: str) -> None:
        """Look up an entry's next slot again: one was run, or the entry was paused or resumed."""
        self._next.pop(name, None)
        self._postponed.pop(name, None)

    def postpone(self, name: str, now: datetime) -> None:
        """Retry an entry's slot after `RETRY_DELAY`."""
        self._postponed[name] = now + RETRY_DELAY

    def _earliest(self, now: datetime) -> str | None:
        at = {name: self._with_delay(name, due).at for name in self._entries if (due := self.next_of(name, now))}
        return min(at, key=lambda name: (at[name], name), default=None)

    def _with_delay(self, name: str, due: DueSlot) -> DueSlot:
        return due._replace(at=max(due.at, self._postponed.get(name, due.at)))

    def _look_up(self, name: str, now: datetime) -> DueSlot | None:
        last = self._state.entries[name].last
        return next_due_slot(self._entries[name], last or now, now)
