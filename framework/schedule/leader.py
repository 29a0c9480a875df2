"""A scheduler's term: from taking its place in the line until it loses it, and leading in between.

1. It joins the line of the state queue's consumers and says hello. The broker hands records to the first in line alone:
   whoever is handed one is that.
2. It writes a barrier and reads on until that comes back. Whoever led before wrote on a connection that the broker
   has closed, so nothing can come after the barrier that is not known.
3. It leads: it writes all that is known in a snapshot, and sends what is due, each time with its record.
"""

import os
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from celery import Celery
from celery.utils.log import get_logger

from framework.errors import describe
from framework.schedule.agenda import Agenda
from framework.schedule.entries import Entry
from framework.schedule.leader_connection import LeaderConnection
from framework.schedule.messages import Kind, Record
from framework.schedule.publisher import NotSent, Sender, SlotRefused
from framework.schedule.state import ScheduleState

__all__ = ["Leadership", "node_name", "utc_now"]


log = get_logger(__name__)

#: After how many runs, and after how many seconds, a snapshot is written. RabbitMQ closes the channel of whoever keeps
#: a message for half an hour.
RUNS, SECONDS = 50, 300.0

#: How many slots are run until the connection is looked at again.
BATCH = 50

#: Seconds by which this server's clock may be behind the last slot before that is said.
BEHIND = 5.0


def utc_now() -> datetime:
    """The time of this server's clock."""
    return datetime.now(UTC)


def node_name() -> str:
    """What this scheduler is called: host and process."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Leadership:
    """One scheduler at the state queue of an application.

    Args:
        app: the application.
        entries: what it would schedule, by name.
        clock: tells the time.
        put_off: entries that could not be sent, and until when they are put off; it may outlive the term.

    Raises:
        LockLost: from any method: the term is over.
    """

    def __init__(
        self,
        app: Celery,
        entries: Mapping[str, Entry],
        clock: Callable[[], datetime] = utc_now,
        put_off: dict[str, datetime] | None = None,
    ) -> None:
        self._app = app
        self._entries = entries
        self._clock = clock
        self._node = node_name()
        self._journal = ScheduleState()
        self._questions: list[Record] = []
        self._barrier = ""
        self._snapshot = ""
        self._since_snapshot = 0
        self._snapshot_at = monotonic()
        self._known_others: set[str] = set()
        #: Since when it leads; None while it does not.
        self.leads_since: datetime | None = None
        self._agenda = Agenda(entries, self._journal, {} if put_off is None else put_off)
        self._lock = LeaderConnection(app)
        try:
            self._sender = Sender(app, self._lock)
            self._lock.put(Kind.HELLO, {"node": self._node, "entries": self._fingerprints()})
        except BaseException:
            self._lock.abandon()
            raise
        log.info("beat: %s is in line", self._node)

    def work(self, seconds: float) -> None:
        """Do what there is to do, then wait for the next thing to do, ``seconds`` at the most."""
        for record in self._lock.delivered():
            self._read(record)
        if self.leads_since is not None:
            self._run_due()
            if self._since_snapshot >= RUNS or monotonic() - self._snapshot_at > SECONDS:
                self._write_snapshot()
            seconds = min(seconds, self._idle_for())
        self._lock.wait(seconds)

    def close(self) -> None:
        """End the term; the next scheduler in line leads at once."""
        self._lock.close()

    def abandon(self) -> None:
        """End the term without a word: the connection may never answer again."""
        self._lock.abandon()

    def _read(self, record: Record) -> None:
        if not self._barrier:
            self._barrier = self._lock.put(Kind.BARRIER, {"node": self._node})
        if record.kind == Kind.BARRIER:
            self._hear_barrier(record)
            return
        try:
            READERS.get(record.kind, Leadership._ignore)(self, record)
        except (AttributeError, KeyError, TypeError, ValueError) as exc:  # anybody may write to a queue
            log.warning("beat: a record in the state queue cannot be read and is dropped: %s", describe(exc))
            self._ignore(record)

    def _ignore(self, record: Record) -> None:
        self._lock.done(record.tag)

    def _hear_barrier(self, record: Record) -> None:
        self._lock.done(record.tag)
        if record.id == self._barrier and self.leads_since is None:
            self._lead()

    def _lead(self) -> None:
        now = self._clock()
        for line in self._journal.begin(self._entries, now):
            log.warning("beat: %s", line)
        self.leads_since = now
        log.warning("beat: %s leads, with %d entries", self._node, len(self._entries))
        ahead = [name for name in self._entries if self._behind(name, now) > BEHIND]
        if ahead:
            seconds = max(self._behind(name, now) for name in ahead)
            log.warning(
                "beat: the clock of this server is %.0f s behind the last slot of %s; nothing runs twice, so it waits",
                seconds,
                ", ".join(map(repr, ahead)),
            )
        self._write_snapshot()
        for question in self._questions:
            self._answer(question)
        self._questions.clear()

    def _behind(self, name: str, now: datetime) -> float:
        last = self._journal.entries[name].last
        return (last - now).total_seconds() if last else 0.0

    def _hear_hello(self, record: Record) -> None:
        self._compare(record)
        self._lock.done(record.tag)

    def _compare(self, record: Record) -> None:
        """Say once that another scheduler's configuration is not ours."""
        theirs = dict(record.body.get("entries") or {})
        ours = self._fingerprints()
        version = str(sorted(theirs.items()))
        if theirs == ours or version in self._known_others:
            return
        self._known_others.add(version)
        differ = sorted(name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name))
        log.warning(
            "beat: the configuration of %s is another one than that of %s; whoever leads goes by its own. They differ "
            "in %s",
            record.body.get("node"),
            self._node,
            ", ".join(map(repr, differ)),
        )

    def _hear_run(self, record: Record) -> None:
        if self.leads_since is None:
            self._journal.read(record)
        else:  # it is ours
            self._journal.hold(record)

    def _hear_snapshot(self, record: Record) -> None:
        if self.leads_since is None:
            self._journal.read(record)
        elif record.id == self._snapshot:
            self._lock.done(*self._journal.superseded_by(record), kept=self._journal.held)
        else:
            self._journal.hold(record)

    def _hear_control(self, record: Record) -> None:
        self._journal.read(record)
        self._agenda.changed(str(record.body.get("entry")))
        if self.leads_since is not None:
            log.warning("beat: %s %r", record.kind, record.body.get("entry"))
            self._lock.answer(record, self._status())
        self._since_snapshot += 1

    def _hear_query(self, record: Record) -> None:
        self._lock.done(record.tag)
        if self.leads_since is None:
            self._questions.append(record)
        else:
            self._answer(record)

    def _answer(self, question: Record) -> None:
        self._lock.answer(question, self._status())

    def _run_due(self) -> None:
        for _ in range(BATCH):
            now = self._clock()
            first = self._agenda.first(now)
            if first is None or first[1].at > now:
                return
            self._run(first[0], first[1].slot)

    def _run(self, entry: Entry, slot: datetime) -> None:
        log.info("beat: sending %s for %r, due at %s", entry.task, entry.name, slot.isoformat())
        try:
            self._sender.send(entry, slot)
        except NotSent as exc:
            log.error(  # noqa: TRY400
                "beat: %s for %r was not sent and is tried again in a while: %s", entry.task, entry.name, exc
            )
            self._agenda.put_off(entry.name, self._clock())
            return
        except SlotRefused:
            self._agenda.put_off(entry.name, self._clock())
            raise
        state = self._journal.entries[entry.name]
        state.runs += state.pass_over(slot)
        self._agenda.changed(entry.name)
        self._since_snapshot += 1

    def _write_snapshot(self) -> None:
        self._since_snapshot, self._snapshot_at = 0, monotonic()
        self._snapshot = self._lock.put(Kind.SNAPSHOT, self._journal.snapshot(self._node))

    def _idle_for(self) -> float:
        now = self._clock()
        first = self._agenda.first(now)
        return max(0.0, (first[1].at - now).total_seconds()) if first else SECONDS

    def _fingerprints(self) -> dict[str, str]:
        return {name: entry.fingerprint for name, entry in self._entries.items()}

    def _status(self) -> dict[str, Any]:
        now = self._clock()
        return {
            "leader": self._node,
            "since": self.leads_since and self.leads_since.isoformat(),
            "tick": now.isoformat(),
            "entries": {name: self._status_of(name, now) for name in self._entries},
        }

    def _status_of(self, name: str, now: datetime) -> dict[str, Any]:
        state, due = self._journal.entries[name], self._agenda.next_of(name, now)
        return {
            "task": self._entries[name].task,
            "when": self._entries[name].when,
            "last": state.last and state.last.isoformat(),
            "next": due and due.at.isoformat(),
            "runs": state.runs,
            "paused": state.paused,
            "fingerprint": self._entries[name].fingerprint,
        }


READERS: dict[str, Callable[[Leadership, Record], None]] = {
    Kind.HELLO: Leadership._hear_hello,
    Kind.SNAPSHOT: Leadership._hear_snapshot,
    Kind.RUN: Leadership._hear_run,
    Kind.QUERY: Leadership._hear_query,
    Kind.PAUSE: Leadership._hear_control,
    Kind.RESUME: Leadership._hear_control,
}
