"""What the leader does next: the earliest of all entries' next slots."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from framework.schedule.entries import Entry
from framework.schedule.misfire import Due, upcoming
from framework.schedule.state import ScheduleState

__all__ = ["Agenda"]

#: Seconds until an entry is tried again whose task could not be sent.
PAUSE = timedelta(seconds=5)


class Agenda:
    """The next slot of each entry that is not paused.

    Args:
        entries: by name.
        journal: what is known of them.
        not_before: until when entries are put off whose task could not be sent; kept up to date.
    """

    def __init__(self, entries: Mapping[str, Entry], journal: ScheduleState, not_before: dict[str, datetime]) -> None:
        self._entries = entries
        self._journal = journal
        self._next: dict[str, Due | None] = {}
        self._not_before = not_before

    def first(self, now: datetime) -> tuple[Entry, Due] | None:
        """The entry that is due first, and its slot; None where nothing will ever be due."""
        while (name := self._earliest(now)) is not None:
            found = self._next[name]
            assert found is not None  # noqa: S101
            if found.at > now or name in self._not_before:
                return self._entries[name], self._shifted(name, found)
            # It may have been worked out long ago: the process was stopped, or its clock was set.
            if (again := self._look_up(name, now)) == found:
                return self._entries[name], found
            self._next[name] = again
        return None

    def next_of(self, name: str, now: datetime) -> Due | None:
        """The next slot of an entry; None where there is none, or it is paused."""
        if self._journal.entries[name].paused:
            return None
        if name not in self._next:
            self._next[name] = self._look_up(name, now)
        return self._next[name]

    def changed(self, name: str) -> None:
        """An entry's state is another: a slot was run, or it was paused or goes on."""
        self._next.pop(name, None)
        self._not_before.pop(name, None)

    def put_off(self, name: str, now: datetime) -> None:
        """Try an entry's slot again after a while."""
        self._not_before[name] = now + PAUSE

    def _earliest(self, now: datetime) -> str | None:
        at = {name: self._shifted(name, due).at for name in self._entries if (due := self.next_of(name, now))}
        return min(at, key=lambda name: (at[name], name), default=None)

    def _shifted(self, name: str, due: Due) -> Due:
        return due._replace(at=max(due.at, self._not_before.get(name, due.at)))

    def _look_up(self, name: str, now: datetime) -> Due | None:
        last = self._journal.entries[name].last
        return upcoming(self._entries[name], last or now, now)
