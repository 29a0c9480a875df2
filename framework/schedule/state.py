"""The state of the entries, read from the records of the state queue, and which records are still needed."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from framework.schedule.entries import Entry
from framework.schedule.messages import Kind, Record

__all__ = ["EntryState", "ScheduleState"]


@dataclass
class EntryState:
    """The state of an entry: its last slot that was run or skipped, and how many were run."""

    last: datetime | None = None
    runs: int = 0
    paused: bool = False
    #: Its timing at that time; an entry with another timing starts from now.
    timing: str = ""
    #: The whole entry's fingerprint at that time.
    fingerprint: str = ""

    def advance_to(self, slot: datetime) -> bool:
        """Make ``slot`` the last one; return False where the last one is not earlier."""
        if self.last is not None and slot <= self.last:
            return False
        self.last = slot
        return True

    def as_json(self) -> dict[str, Any]:
        """Return the state for a snapshot."""
        return {**vars(self), "last": self.last and self.last.isoformat()}


def _state_from(written: Mapping[str, Any]) -> EntryState:
    last = written.get("last")
    return EntryState(
        last=datetime.fromisoformat(last) if last else None,
        runs=int(written.get("runs") or 0),
        paused=bool(written.get("paused")),
        timing=str(written.get("timing") or ""),
        fingerprint=str(written.get("fingerprint") or ""),
    )


class ScheduleState:
    """The state, read record by record; the records that the next leader would need are held unacknowledged."""

    def __init__(self) -> None:
        self.entries: dict[str, EntryState] = {}
        #: Whether a snapshot was read; there is none for the first leader, or in a queue that was purged.
        self.has_snapshot = False
        self._held: dict[int, Record] = {}

    @property
    def held(self) -> Collection[int]:
        """The tags of the unacknowledged records."""
        return self._held.keys()

    def read(self, record: Record) -> None:
        """Apply a record of another scheduler or of a command."""
        if record.kind == Kind.RUN and record.slot is not None:
            state = self.entries.setdefault(record.entry, EntryState())
            state.runs += state.advance_to(record.slot)
        elif record.kind == Kind.SNAPSHOT:
            self._read_snapshot(record.body)
        elif record.kind in (Kind.PAUSE, Kind.RESUME):
            self._control(record)
        self.hold(record)

    def hold(self, record: Record) -> None:
        """Keep a record unacknowledged until a snapshot covers it."""
        self._held[record.tag] = record

    def _read_snapshot(self, body: Mapping[str, Any]) -> None:
        self.has_snapshot = True
        for name, written in dict(body["entries"]).items():
            known = self.entries.get(name)
            self.entries[name] = state = _state_from(written)
            # Runs may arrive in any order: a broker may deliver those with a priority first.
            if known is not None and known.last is not None:
                state.advance_to(known.last)
        covered = set(body.get("covers") or ())
        for record in self._held.values():
            if record.kind in (Kind.PAUSE, Kind.RESUME) and record.id not in covered:
                self._control(record)  # it was in transit when the snapshot was written

    def _control(self, record: Record) -> None:
        state = self.entries.setdefault(str(record.body.get("entry")), EntryState())
        if state.paused and record.kind == Kind.RESUME and state.last is not None:
            state.advance_to(datetime.fromisoformat(str(record.body["at"])))  # slots during the pause are not run
        state.paused = record.kind == Kind.PAUSE

    def adopt(self, entries: Mapping[str, Entry], now: datetime) -> Iterator[str]:
        """Adapt the state to the configuration; yield a sentence for the log about each kind of change.

        An entry that is new, or due at other times than before, starts with its next slot from ``now``.
        """
        fresh = [name for name in entries if name not in self.entries or self.entries[name].last is None]
        moved = [
            name
            for name, entry in entries.items()
            if name not in fresh and self.entries[name].timing not in ("", entry.timing)
        ]
        changed = [
            name
            for name, entry in entries.items()
            if name not in (*fresh, *moved) and self.entries[name].fingerprint not in ("", entry.fingerprint)
        ]
        gone = sorted(self.entries.keys() - entries.keys())
        for name in fresh + moved:
            self.entries.setdefault(name, EntryState()).advance_to(now)
        for name in gone:
            del self.entries[name]
        for name, entry in entries.items():
            self.entries[name].timing, self.entries[name].fingerprint = entry.timing, entry.fingerprint
        yield from self._changes(fresh, moved, changed, gone)

    def _changes(self, fresh: list[str], moved: list[str], changed: list[str], gone: list[str]) -> Iterator[str]:
        if not self.has_snapshot and fresh:
            yield (
                "The state queue holds no state: it is new, or was purged or deleted. "
                f"Every entry starts with its next slot from now: {_listed(fresh)}"
            )
        elif fresh:
            yield f"New entries start with their next slot from now: {_listed(fresh)}"
        if moved:
            yield f"Entries with a new schedule start with its next slot from now: {_listed(moved)}"
        if changed:
            yield f"Entries are not what they were for the last leader: {_listed(changed)}"
        if gone:
            yield f"Entries that this configuration does not have any more stop: {_listed(gone)}"

    def snapshot(self, leader: str) -> dict[str, Any]:
        """Return the whole state, to be published; it supersedes the records that are held now."""
        return {
            "leader": leader,
            "entries": {name: state.as_json() for name, state in self.entries.items()},
            "covers": [record.id for record in self._held.values() if record.kind in (Kind.PAUSE, Kind.RESUME)],
        }

    def superseded_by(self, snapshot: Record) -> list[int]:
        """Hold the leader's own snapshot; return the tags of the records that it supersedes, to be acknowledged."""
        covered = set(snapshot.body.get("covers") or ())
        done = [
            tag
            for tag, record in self._held.items()
            if record.kind not in (Kind.PAUSE, Kind.RESUME) or record.id in covered
        ]
        for tag in done:
            del self._held[tag]
        self.hold(snapshot)
        return done


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names[:20])) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
