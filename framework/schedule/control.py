"""Control of the schedule from any process: its status, pause, resume, and running an entry now."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any
from uuid import uuid4

import amqp
from amqp.exceptions import NotFound
from celery import Celery

from framework.broker.request import within_call
from framework.config import setting
from framework.errors import UnknownEntry
from framework.schedule.entries import Entry, entries_of, entry_named
from framework.schedule.leader import utc_now
from framework.schedule.messages import Kind, message, queue_name, state_queue

__all__ = ["EntryStatus", "ScheduleStatus", "Schedules"]

#: Seconds to wait for the leader's reply.
REPLY_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True)
class EntryStatus:
    """An entry as the leader has it, or as the configuration has it while there is no leader.

    ``last`` is the slot that was run last, or the time when the entry started; ``next`` is when its next task is sent.
    """

    name: str
    task: str
    when: str
    next: datetime | None
    last: datetime | None = None
    runs: int = 0
    paused: bool = False
    #: How many slots were passed over: late for longer than ``missed`` allows, or while the last task still ran.
    skipped: int = 0
    #: How often its task was refused, and retried later.
    refused: int = 0
    #: Whether this project's configuration has the same entry as the leader's.
    same_here: bool = True


@dataclass(frozen=True)
class ScheduleStatus:
    """The leader, since when it leads, the time of its clock, and every entry; without a leader the first are None."""

    leader: str | None
    since: datetime | None
    tick: datetime | None
    entries: tuple[EntryStatus, ...]


class Schedules:
    """The schedule of an application. Any process may request its status; the leading scheduler replies.

    The task modules are imported. Each method that needs the broker raises `~framework.errors.BrokerUnreachable` where
    that does not answer within ``task_publish_timeout``.

    Raises:
        BadEntries: an entry of the configuration is invalid.
    """

    def __init__(self, app: Celery) -> None:
        app.loader.import_default_modules()
        app.finalize(auto=True)
        self._app = app
        #: The zone of the setting ``timezone``.
        self.timezone: tzinfo = app.timezone
        self.entries: Mapping[str, Entry] = entries_of(app)

    def status(self) -> ScheduleStatus:
        """Return the leader's status; that of the configuration where no leader replies within two seconds."""
        with self._connected() as connection:
            reply = connection.request(Kind.QUERY) if connection.has_schedulers() else None
        return self._status_of(reply) if reply else ScheduleStatus(None, None, None, tuple(self._configured()))

    def next(self, name: str, count: int = 10) -> list[datetime]:
        """Return the next slots of an entry, in its own zone, as the configuration has them.

        Raises:
            UnknownEntry: there is no entry of that name.
        """
        return list(_slots(entry_named(name, self.entries), count))

    def run(self, name: str) -> str:
        """Send an entry's task now, with or without a leader, paused or not; return its id.

        Raises:
            UnknownEntry: there is no entry of that name.
            BrokerUnreachable: the broker does not answer.
        """
        entry = entry_named(name, self.entries)
        args, kwargs = entry.call()
        options = {**entry.options, "add_to_parent": False}
        return str(self._app.send_task(entry.task, args, kwargs, **options).id)

    def pause(self, name: str) -> bool:
        """Pause an entry until it is resumed, under any leader; return whether a leader has confirmed it.

        Where there is none, the next leader applies it.

        Raises:
            UnknownEntry: neither the configuration nor the leader has an entry of that name.
        """
        return self._control(Kind.PAUSE, name)

    def resume(self, name: str) -> bool:
        """Resume a paused entry with its next slot from the leader's clock; return whether a leader has confirmed it.

        Raises:
            UnknownEntry: neither the configuration nor the leader has an entry of that name.
        """
        return self._control(Kind.RESUME, name)

    def reset(self, name: str) -> bool:
        """Forget the last slot of an entry, so that it starts with its next one; return whether a leader confirmed it.

        A paused entry stays paused.

        Raises:
            UnknownEntry: neither the configuration nor the leader has an entry of that name.
        """
        return self._control(Kind.RESET, name)

    def _control(self, kind: str, name: str) -> bool:
        with self._connected() as connection:
            if name not in self.entries:
                self._check_leader_has(name, connection)
            connection.declare()
            return connection.request(kind, {"entry": name}) is not None

    def _check_leader_has(self, name: str, connection: "ControlConnection") -> None:
        reply = connection.request(Kind.QUERY) if connection.has_schedulers() else None
        known = {*self.entries, *(reply["entries"] if reply else ())}
        if name not in known:
            raise UnknownEntry.named(name, known)

    @contextmanager
    def _connected(self) -> Iterator["ControlConnection"]:
        options = {"confirm_publish": True}
        with within_call(self._app), self._app.connection_for_write(transport_options=options) as connection:
            connection.ensure_connection(max_retries=2, interval_start=0, interval_step=1)
            timeout = float(setting(self._app, "task_publish_timeout"))
            yield ControlConnection(connection, queue_name(self._app), timeout)

    def _status_of(self, reply: Mapping[str, Any]) -> ScheduleStatus:
        entries = tuple(self._entry_status(name, entry) for name, entry in sorted(reply["entries"].items()))
        return ScheduleStatus(reply["leader"], _time_of(reply["since"]), _time_of(reply["tick"]), entries)

    def _entry_status(self, name: str, reply: Mapping[str, Any]) -> EntryStatus:
        ours = self.entries.get(name)
        return EntryStatus(
            name=name,
            task=reply["task"],
            when=reply["when"],
            next=_time_of(reply["next"]),
            last=_time_of(reply["last"]),
            runs=reply["runs"],
            paused=reply["paused"],
            skipped=reply.get("skipped", 0),
            refused=reply.get("refused", 0),
            same_here=ours is not None and ours.fingerprint == reply["fingerprint"],
        )

    def _configured(self) -> Iterator[EntryStatus]:
        for name, entry in sorted(self.entries.items()):
            yield EntryStatus(name, entry.task, entry.when, next(_slots(entry, 1), None))


class ControlConnection:
    """A connection to the state queue, for requests to its leader."""

    def __init__(self, connection: Any, queue: str, publish_timeout: float) -> None:
        self._connection = connection
        self._channel = connection.channel()
        self._queue = queue
        self._publish_timeout = publish_timeout

    def declare(self) -> None:
        """Declare the state queue, where no scheduler has done so yet."""
        state_queue(self._queue)(self._channel).declare()

    def has_schedulers(self) -> bool:
        """Return whether any scheduler is connected."""
        try:
            return bool(self._channel.queue_declare(self._queue, passive=True).consumer_count)
        except NotFound:
            self._channel = self._connection.channel()
            return False

    def request(self, kind: str, body: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """Publish a record; return the leader's reply, or None where there is none in time."""
        replies: list[amqp.Message] = []
        reply_to = f"{self._queue}.answer.{uuid4().hex}"
        own = {"exclusive": True, "auto_delete": True, "arguments": {"x-queue-type": "classic"}}
        self._channel.queue_declare(reply_to, **own)
        self._channel.basic_consume(reply_to, no_ack=True, callback=replies.append)
        # A query expires with its reply timeout; a pause or resume does not.
        lifetime = {"expiration": str(int(REPLY_TIMEOUT_SECONDS * 1000))} if kind == Kind.QUERY else {}
        self._channel.basic_publish(
            message(kind, uuid4().hex, body or {}, reply_to=reply_to, **lifetime),
            routing_key=self._queue,
            mandatory=True,
            confirm_timeout=self._publish_timeout,
        )
        if self.has_schedulers():
            self._wait_for(replies)
        return json.loads(replies[0].body) if replies else None

    def _wait_for(self, replies: list[amqp.Message]) -> None:
        deadline = time.monotonic() + REPLY_TIMEOUT_SECONDS
        while not replies and (left := deadline - time.monotonic()) > 0:
            try:
                self._connection.drain_events(timeout=left)
            except TimeoutError:
                return


def _slots(entry: Entry, count: int) -> Iterator[datetime]:
    slot: datetime | None = utc_now()
    for _ in range(count):
        slot = entry.slot_after(slot) if slot else None
        if slot is None:
            return
        yield slot.astimezone(entry.zone)


def _time_of(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
