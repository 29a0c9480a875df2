"""The leadership of a scheduler, from its connection until the connection is lost.

1. It consumes the state queue and publishes a hello. The broker delivers records to the single active consumer: the
   scheduler that receives one is that.
2. It publishes a barrier and reads until it receives it. The connection of the former leader is closed, so no record
   of it can come after the barrier.
3. It leads: it publishes the whole state in a snapshot, and sends the due entries, each with the record of its run.
4. Before it sends, it publishes another barrier and waits until it receives it: in a cluster whose nodes lost each
   other, another scheduler may have become the active consumer while this one's connection stayed open.
"""

import os
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from time import monotonic
from typing import Any, NamedTuple

from celery import Celery
from celery.utils.log import get_logger

from framework.errors import describe
from framework.schedule.agenda import Agenda, Retry
from framework.schedule.description import listed
from framework.schedule.entries import Entry
from framework.schedule.leader_connection import LeaderConnection, LeadershipLost
from framework.schedule.messages import Kind, Record, outcome
from framework.schedule.passed_over import PassedOver
from framework.schedule.publisher import FULL, NotSent, QueueRefused, Sender, Skipped, SlotRefused
from framework.schedule.state import ScheduleState

__all__ = ["Leadership", "node_name", "utc_now"]


log = get_logger(__name__)

#: The number of runs, and of seconds, after which a snapshot is published; with more entries, the number of these.
#: RabbitMQ closes a channel that holds a message for half an hour.
SNAPSHOT_RUNS, SNAPSHOT_SECONDS = 50, 300.0

#: The number of slots that are run until the connection is read again.
BATCH_SIZE = 50

#: Seconds by which this server's clock may be behind the last slot without a warning.
CLOCK_TOLERANCE_SECONDS = 5.0

#: Seconds between two looks at the clock by which it was set, or the process was suspended.
CLOCK_JUMP_SECONDS = 30.0


def utc_now() -> datetime:
    """Return the time of this server's clock."""
    return datetime.now(UTC)


def node_name() -> str:
    """Return this scheduler's name: host and process."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Sending(NamedTuple):
    """A slot that is sent, the last one before it, and how many were passed over in between."""

    entry: Entry
    slot: datetime
    previous: datetime | None
    skipped: int


class Leadership:
    """One scheduler at the state queue of an application.

    Args:
        app: the application.
        entries: the entries of its configuration, by name.
        clock: returns the time.
        postponed: entries that could not be sent, with the time of their retry; the scheduler passes it to its next
            leadership.

    Raises:
        LeadershipLost: from any method: the connection is lost.
    """

    def __init__(
        self,
        app: Celery,
        entries: Mapping[str, Entry],
        clock: Callable[[], datetime] = utc_now,
        postponed: dict[str, Retry] | None = None,
    ) -> None:
        self._app = app
        self._entries = entries
        self._clock = clock
        self._node = node_name()
        self._state = ScheduleState()
        self._queries: list[Record] = []
        self._barrier = self._passed_barrier = ""
        self._snapshot = ""
        self._since_snapshot = 0
        self._snapshot_at = monotonic()
        self._known_others: set[str] = set()
        self._passed_over = PassedOver()
        self._unconfirmed: set[str] = set()
        self._looked_at_clock = clock()
        #: Since when it leads; None while it does not.
        self.leads_since: datetime | None = None
        self._agenda = Agenda(entries, self._state, {} if postponed is None else postponed)
        self._connection = LeaderConnection(app)
        try:
            self._sender = Sender(app, self._connection)
            self._connection.publish(Kind.HELLO, {"node": self._node, "entries": self._fingerprints()})
        except BaseException:
            self._connection.abandon()
            raise
        log.info("beat: %s stands by", self._node)

    def work(self, seconds: float) -> None:
        """Read the records and send the due entries, then wait for the next of them, ``seconds`` at most."""
        for record in self._connection.received():
            self._read(record)
        if self.leads_since is not None:
            self._run_due()
            most = max(SNAPSHOT_RUNS, len(self._entries))
            if self._since_snapshot >= most or monotonic() - self._snapshot_at > SNAPSHOT_SECONDS:
                self._publish_snapshot()
            seconds = min(seconds, self._idle_for())
        self._connection.wait(seconds)

    def close(self) -> None:
        """Close the connection; the next scheduler leads at once."""
        self._connection.close()

    def abandon(self) -> None:
        """Close the socket without AMQP's closing handshake: the broker may never answer."""
        self._connection.abandon()

    def _read(self, record: Record) -> None:
        if not self._barrier:
            self._barrier = self._connection.publish(Kind.BARRIER, {"node": self._node})
        if record.kind == Kind.BARRIER:
            self._on_barrier(record)
            return
        try:
            HANDLERS.get(record.kind, Leadership._ignore)(self, record)
        except (AttributeError, KeyError, TypeError, ValueError) as exc:  # any program may publish to a queue
            log.warning("beat: a record in the state queue cannot be read and is dropped: %s", describe(exc))
            self._ignore(record)

    def _ignore(self, record: Record) -> None:
        self._connection.acknowledge(record.tag)

    def _on_barrier(self, record: Record) -> None:
        self._connection.acknowledge(record.tag)
        if record.id != self._barrier:
            return
        self._passed_barrier = record.id
        if self.leads_since is None:
            self._lead()

    def _lead(self) -> None:
        now = self._clock()
        for change in self._state.adopt(self._entries, now):
            log.warning("beat: %s", change)
        self.leads_since = self._looked_at_clock = now
        log.warning("beat: %s leads, with %d entries", self._node, len(self._entries))
        self._check_clock(now)
        self._publish_snapshot()
        for query in self._queries:
            self._reply(query)
        self._queries.clear()

    def _check_clock(self, now: datetime) -> None:
        """Compare the clock with the last slots, which another clock may have sent."""
        if started := self._state.follow_clock(now):
            log.warning(
                "beat: the last slots of %s lie more than a day ahead of the clock of this server: that of another "
                "one was, or this one's is, set to another date; they start with their next slot from now",
                listed(started),
            )
        ahead = [name for name in self._entries if self._behind(name, now) > CLOCK_TOLERANCE_SECONDS]
        if ahead:
            seconds = max(self._behind(name, now) for name in ahead)
            log.warning(
                "beat: the clock of this server is %.0f s behind the last slot of %s; nothing runs twice, so it waits",
                seconds,
                listed(ahead),
            )

    def _behind(self, name: str, now: datetime) -> float:
        last = self._state.entries[name].last
        return (last - now).total_seconds() if last else 0.0

    def _on_hello(self, record: Record) -> None:
        self._compare(record)
        self._connection.acknowledge(record.tag)

    def _compare(self, record: Record) -> None:
        """Warn once about each other configuration of a scheduler."""
        theirs = dict(record.body.get("entries") or {})
        ours = self._fingerprints()
        version = str(sorted(theirs.items()))
        if theirs == ours or version in self._known_others:
            return
        self._known_others.add(version)
        differ = sorted(name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name))
        log.warning(
            "beat: the configuration of %s differs from that of %s; the leader uses its own. They differ in %s",
            record.body.get("node"),
            self._node,
            ", ".join(map(repr, differ)),
        )

    def _on_outcome(self, record: Record) -> None:
        if self.leads_since is None:
            self._state.read(record, self._clock())
        else:  # the leader published it
            self._state.hold(record)

    def _on_snapshot(self, record: Record) -> None:
        if self.leads_since is None:
            self._state.read(record, self._clock())
        elif record.id == self._snapshot:
            self._connection.acknowledge(*self._state.superseded_by(record), held=self._state.held)
        else:
            self._state.hold(record)

    def _on_control(self, record: Record) -> None:
        self._state.read(record, self._clock())
        self._agenda.refresh(record.entry)
        if self.leads_since is not None:
            log.warning("beat: %s %r", record.kind, record.entry)
            self._publish_snapshot()  # it has the time of the leader's clock; the request has none
            self._connection.reply(record, self._status())

    def _on_query(self, record: Record) -> None:
        self._connection.acknowledge(record.tag)
        if self.leads_since is None:
            self._queries.append(record)
        else:
            self._reply(record)

    def _reply(self, query: Record) -> None:
        self._connection.reply(query, self._status())

    def _run_due(self) -> None:
        self._watch_clock()
        if self._is_due():
            self._check_leadership()
            self._run_batch()
        self._passed_over.report()

    def _is_due(self) -> bool:
        now = self._clock()
        first = self._agenda.first(now)
        return first is not None and first[1].at <= now

    def _run_batch(self) -> None:
        self._sender.begin()
        for _ in range(BATCH_SIZE):
            now = self._clock()
            first = self._agenda.first(now)
            if first is None or first[1].at > now:
                break
            if first[0].name in self._unconfirmed:
                self._confirm()
            else:
                self._run(first[0], first[1].slot)
        self._confirm()

    def _check_leadership(self) -> None:
        """Wait until a record that is published now is delivered to this scheduler.

        Raises:
            LeadershipLost: it is not delivered in time, so another scheduler may lead.
        """
        self._barrier = self._connection.publish(Kind.BARRIER, {"node": self._node})
        self._passed_barrier = ""
        deadline = monotonic() + self._connection.confirm_timeout
        while self._passed_barrier != self._barrier:
            if monotonic() > deadline:
                raise LeadershipLost("the broker delivers the records to another scheduler, or not at all")
            self._connection.wait(deadline - monotonic())
            for record in self._connection.received():
                self._read(record)

    def _confirm(self) -> None:
        """Wait until the broker has confirmed the tasks that were sent; take back the refused ones."""
        try:
            refused = self._sender.refused()
        except SlotRefused:
            self._suspect()
            raise
        for sending in refused:
            self._refuse(sending)
        self._unconfirmed.clear()

    def _suspect(self) -> None:
        """Retry each of the entries alone of which one ended the leadership."""
        log.error("beat: the broker refuses a task of %s; each is retried alone", listed(sorted(self._unconfirmed)))
        for name in self._unconfirmed:
            self._agenda.postpone(name, self._clock())

    def _watch_clock(self) -> None:
        now, before = self._clock(), self._looked_at_clock
        self._looked_at_clock = now
        if abs((now - before).total_seconds()) > CLOCK_JUMP_SECONDS:
            self._check_clock(now)
            self._agenda.refresh_all(now)

    def _run(self, entry: Entry, slot: datetime) -> None:
        log.info("beat: sending %s for %r, due at %s", entry.task, entry.name, slot.isoformat())
        state = self._state.entries[entry.name]
        skipped = entry.count_between(state.last, slot) if state.last else 0
        sending = Sending(entry, slot, state.last, skipped)
        try:
            self._send(sending, in_doubt=state.in_doubt or self._agenda.is_postponed(entry.name))
        except Skipped as exc:
            log.info("beat: the slot %s of %r is skipped: %s", slot.isoformat(), entry.name, exc)
            self._connection.publish(Kind.SKIPPED, outcome(entry.name, slot, skipped))
            state.skip(slot, skipped)
        except QueueRefused:
            self._refuse(sending)
            return
        except NotSent as exc:
            state.refused += 1
            self._postpone(entry, exc)
            return
        else:
            state.run(slot, skipped)
        self._passed_over.add(entry.name, skipped)
        self._agenda.refresh(entry.name)
        self._since_snapshot += 1

    def _send(self, sending: Sending, *, in_doubt: bool) -> None:
        entry = sending.entry
        self._unconfirmed.add(entry.name)
        defer_as = sending if self._sender.can_defer(entry) else None
        try:
            self._sender.send(entry, sending.slot, sending.skipped, in_doubt=in_doubt, defer_as=defer_as)
        except SlotRefused:
            self._suspect()
            raise

    def _refuse(self, sending: Sending) -> None:
        entry, slot, previous, skipped = sending
        written = {**outcome(entry.name, slot, skipped), "previous": previous and previous.isoformat()}
        self._connection.publish(Kind.REFUSED, written)
        self._state.refuse(entry.name, slot, previous, skipped)
        self._postpone(entry, FULL)

    def _postpone(self, entry: Entry, why: object) -> None:
        delay = self._agenda.postpone(entry.name, self._clock()).total_seconds()
        log.error("beat: %s for %r was not sent and is retried in %.0f s: %s", entry.task, entry.name, delay, why)

    def _publish_snapshot(self) -> None:
        self._since_snapshot, self._snapshot_at = 0, monotonic()
        self._snapshot = self._connection.publish(Kind.SNAPSHOT, self._state.snapshot(self._node))

    def _idle_for(self) -> float:
        now = self._clock()
        first = self._agenda.first(now)
        return max(0.0, (first[1].at - now).total_seconds()) if first else SNAPSHOT_SECONDS

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
        state, due = self._state.entries[name], self._agenda.next_of(name, now)
        return {
            "task": self._entries[name].task,
            "when": self._entries[name].when,
            "last": state.last and state.last.isoformat(),
            "next": due and due.at.isoformat(),
            "runs": state.runs,
            "skipped": state.skipped,
            "refused": state.refused,
            "paused": state.paused,
            "fingerprint": self._entries[name].fingerprint,
        }


HANDLERS: dict[str, Callable[[Leadership, Record], None]] = {
    Kind.HELLO: Leadership._on_hello,
    Kind.SNAPSHOT: Leadership._on_snapshot,
    Kind.RUN: Leadership._on_outcome,
    Kind.SENT: Leadership._on_outcome,
    Kind.REFUSED: Leadership._on_outcome,
    Kind.SKIPPED: Leadership._on_outcome,
    Kind.QUERY: Leadership._on_query,
    Kind.PAUSE: Leadership._on_control,
    Kind.RESUME: Leadership._on_control,
    Kind.RESET: Leadership._on_control,
}
