"""The state of the entries, read from the records of the state queue, and which records are still needed."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from framework.schedule.description import listed
from framework.schedule.entries import Entry
from framework.schedule.messages import Kind, Record

__all__ = ["LONGEST_CLOCK_DIFFERENCE", "EntryState", "ScheduleState"]

#: The longest time by which the clocks of two servers are expected to differ: one of them shows the local time of any
#: zone as UTC. A slot that lies farther ahead was sent by a clock that was set to another date.
LONGEST_CLOCK_DIFFERENCE = timedelta(hours=26)


@dataclass
class EntryState:
    """The state of an entry: its last slot that was run or skipped, and how many were run."""

    last: datetime | None = None
    runs: int = 0
    #: How many slots were passed over: they were late for longer than the entry allows, or their call was answered.
    skipped: int = 0
    #: How often its queue refused its task.
    refused: int = 0
    #: Whether its queue refused the last one.
    in_doubt: bool = False
    paused: bool = False
    #: The last slot that was sent by a clock that was far ahead of this one, if it has not come yet.
    ahead: datetime | None = None
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

    def run(self, slot: datetime, skipped: int = 0) -> None:
        """Count a slot that was sent, once, and those that were passed over before it."""
        if self.advance_to(slot):
            self.runs += 1
            self.skipped += skipped
        self.in_doubt = False

    def skip(self, slot: datetime, skipped: int = 0) -> None:
        """Count a slot that was passed over, once, and those before it."""
        if self.advance_to(slot):
            self.skipped += skipped + 1

    def follow_clock(self, now: datetime) -> bool:
        """Start from now where the last slot lies too far ahead; return whether it does.

        The slots of the clock that was ahead are not run again when they come.
        """
        if self.ahead is not None and self.ahead <= now:
            self.advance_to(self.ahead)
            self.ahead = None
        if self.last is None or self.last - now <= LONGEST_CLOCK_DIFFERENCE:
            return False
        self.last, self.ahead = now, max(self.last, self.ahead or self.last)
        return True

    def as_json(self) -> dict[str, Any]:
        """Return the state for a snapshot."""
        times = {"last": self.last and self.last.isoformat(), "ahead": self.ahead and self.ahead.isoformat()}
        return {**vars(self), **times}


def _state_from(written: Mapping[str, Any]) -> EntryState:
    return EntryState(
        last=_time(written.get("last")),
        runs=int(written.get("runs") or 0),
        skipped=int(written.get("skipped") or 0),
        refused=int(written.get("refused") or 0),
        in_doubt=bool(written.get("in_doubt")),
        paused=bool(written.get("paused")),
        ahead=_time(written.get("ahead")),
        timing=str(written.get("timing") or ""),
        fingerprint=str(written.get("fingerprint") or ""),
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


class ScheduleState:
    """The state, read record by record; the records that the next leader would need are held unacknowledged."""

    def __init__(self) -> None:
        self.entries: dict[str, EntryState] = {}
        #: Whether a snapshot was read; there is none for the first leader, or in a queue that was purged.
        self.has_snapshot = False
        self._held: dict[int, Record] = {}
        #: The slots whose copies are records of nothing.
        self._refused: set[tuple[str, datetime]] = set()

    @property
    def held(self) -> Collection[int]:
        """The tags of the unacknowledged records."""
        return self._held.keys()

    def read(self, record: Record, now: datetime) -> None:
        """Apply a record of another scheduler or of a command, at the time ``now`` of this server's clock."""
        if record.kind == Kind.SNAPSHOT:
            self._read_snapshot(record.body, now)
        elif record.kind in Kind.CONTROL:
            self._control(record, now)
        elif record.slot is not None:
            self._read_outcome(record, record.slot)
        self.hold(record)

    def hold(self, record: Record) -> None:
        """Keep a record unacknowledged until a snapshot covers it."""
        self._held[record.tag] = record

    def refuse(self, name: str, slot: datetime, previous: datetime | None, skipped: int) -> None:
        """Take back a slot that its queue refused: its copy, read before or after, is the record of nothing."""
        state = self.entries.setdefault(name, EntryState())
        self._refused.add((name, slot))
        state.refused += 1
        state.in_doubt = True
        if state.last == slot:
            state.last = previous
            state.runs -= 1
            state.skipped -= skipped

    def _read_outcome(self, record: Record, slot: datetime) -> None:
        state = self.entries.setdefault(record.entry, EntryState())
        if record.kind == Kind.REFUSED:
            self.refuse(record.entry, slot, _time(record.body.get("previous")), record.skipped)
        elif record.kind == Kind.SKIPPED:
            state.skip(slot, record.skipped)
        elif record.kind == Kind.SENT or (record.entry, slot) not in self._refused:
            state.run(slot, record.skipped)

    def _read_snapshot(self, body: Mapping[str, Any], now: datetime) -> None:
        self.has_snapshot = True
        for name, written in dict(body["entries"]).items():
            known = self.entries.get(name)
            self.entries[name] = state = _state_from(written)
            # Runs may arrive in any order: a broker may deliver those with a priority first.
            if known is not None and known.last is not None:
                state.advance_to(known.last)
        covered = set(body.get("covers") or ())
        for record in self._held.values():
            if record.kind in Kind.CONTROL and record.id not in covered:
                self._control(record, now)  # it was in transit when the snapshot was written

    def _control(self, record: Record, now: datetime) -> None:
        if not record.entry:
            raise ValueError("it names no entry")
        state = self.entries.setdefault(record.entry, EntryState())
        if record.kind == Kind.RESET:
            state.last, state.ahead, state.in_doubt = now, None, False
            return
        if state.paused and record.kind == Kind.RESUME and state.last is not None:
            state.advance_to(now)  # slots during the pause are not run
        state.paused = record.kind == Kind.PAUSE

    def follow_clock(self, now: datetime) -> list[str]:
        """Start the entries from now whose last slots lie too far ahead; return their names."""
        return [name for name, state in self.entries.items() if state.follow_clock(now)]

    def adopt(self, entries: Mapping[str, Entry], now: datetime) -> Iterator[str]:
        """Adapt the state to the configuration; yield a sentence for the log about each kind of change.

        An entry that is new, or due at other times than before, starts with its next slot from ``now``. The pause of
        an entry that this configuration does not have stays: another scheduler may know the entry, and lead next.
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
        unknown = sorted(self.entries.keys() - entries.keys())
        gone = [name for name in unknown if not self.entries[name].paused]
        for name in fresh + moved:
            self.entries.setdefault(name, EntryState()).advance_to(now)
        for name in gone:
            del self.entries[name]
        for name, entry in entries.items():
            self.entries[name].timing, self.entries[name].fingerprint = entry.timing, entry.fingerprint
        yield from self._changes(fresh, moved, changed, gone)
        if unknown != gone:
            stay = [name for name in unknown if name not in gone]
            yield f"Entries that this configuration does not have stay paused: {listed(stay)}"

    def _changes(self, fresh: list[str], moved: list[str], changed: list[str], gone: list[str]) -> Iterator[str]:
        if not self.has_snapshot and fresh:
            yield (
                "The state queue holds no state: it is new, or was purged or deleted. "
                f"Every entry starts with its next slot from now: {listed(fresh)}"
            )
        elif fresh:
            yield f"New entries start with their next slot from now: {listed(fresh)}"
        if moved:
            yield f"Entries with a new schedule start with its next slot from now: {listed(moved)}"
        if changed:
            yield f"Entries are not what they were for the last leader: {listed(changed)}"
        if gone:
            yield f"Entries that this configuration does not have any more stop: {listed(gone)}"

    def snapshot(self, leader: str) -> dict[str, Any]:
        """Return the whole state, to be published; it supersedes the records that are held now."""
        return {
            "leader": leader,
            "entries": {name: state.as_json() for name, state in self.entries.items()},
            "covers": [record.id for record in self._held.values() if record.kind in Kind.CONTROL],
        }

    def superseded_by(self, snapshot: Record) -> list[int]:
        """Hold the leader's own snapshot; return the tags of the records that it supersedes, to be acknowledged."""
        covered = set(snapshot.body.get("covers") or ())
        done = [tag for tag, record in self._held.items() if record.kind not in Kind.CONTROL or record.id in covered]
        for tag in done:
            del self._held[tag]
        self._refused.clear()
        self.hold(snapshot)
        return done
