"""The schedule from outside: seen, paused, resumed, and an entry run now."""

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

from framework.config import setting
from framework.schedule.entries import Entry, entries_of, entry_called
from framework.schedule.leader import utc_now
from framework.schedule.messages import Kind, message, queue_name, state_queue

__all__ = ["EntryStatus", "ScheduleStatus", "Schedules"]

#: Seconds that a leader may take to answer.
PATIENCE = 2.0


@dataclass(frozen=True)
class EntryStatus:
    """An entry as the leader sees it, or as the configuration has it while nobody leads.

    ``last`` is the slot that was run last, or where the entry began; ``next`` is when its next task will be sent.
    """

    name: str
    task: str
    when: str
    next: datetime | None
    last: datetime | None = None
    runs: int = 0
    paused: bool = False
    #: Whether this project's configuration has the same entry as the leader's.
    same_here: bool = True


@dataclass(frozen=True)
class ScheduleStatus:
    """Who leads, since when, when it last looked at the clock, and every entry; without a leader the first are None."""

    leader: str | None
    since: datetime | None
    tick: datetime | None
    entries: tuple[EntryStatus, ...]


class Schedules:
    """The schedule of an application. Any process may ask; the scheduler that leads answers.

    The task modules are imported for it. Each method that needs the broker raises
    ``kombu.exceptions.OperationalError`` where that cannot be reached.

    Raises:
        BadEntries: an entry of the configuration cannot be.
    """

    def __init__(self, app: Celery) -> None:
        app.loader.import_default_modules()
        app.finalize(auto=True)
        self._app = app
        #: The zone of the setting ``timezone``.
        self.timezone: tzinfo = app.timezone
        self.entries: Mapping[str, Entry] = entries_of(app)

    def status(self) -> ScheduleStatus:
        """What the leader says; what the configuration says where nobody answers in two seconds."""
        with self._line() as line:
            told = line.ask(Kind.QUERY) if line.has_schedulers() else None
        return self._live(told) if told else ScheduleStatus(None, None, None, tuple(self._configured()))

    def next(self, name: str, count: int = 10) -> list[datetime]:
        """The next slots of an entry, in its own zone, as the configuration has them.

        Raises:
            UnknownEntry: none is called so.
        """
        return list(_slots(entry_called(name, self.entries), count))

    def run(self, name: str) -> str:
        """Send an entry's task now, whoever leads and whatever is paused; its id.

        Raises:
            UnknownEntry: none is called so.
            BrokerUnreachable: the broker does not answer.
        """
        entry = entry_called(name, self.entries)
        args, kwargs = entry.call()
        options = {**entry.options, "add_to_parent": False}
        return str(self._app.send_task(entry.task, args, kwargs, **options).id)

    def pause(self, name: str) -> bool:
        """Have an entry run no more, until it is resumed, whoever leads; whether a leader has taken note.

        Where there is none, the next one will.

        Raises:
            UnknownEntry: none is called so.
        """
        return self._control(Kind.PAUSE, name)

    def resume(self, name: str) -> bool:
        """Have a paused entry go on with its next slot; whether a leader has taken note.

        Raises:
            UnknownEntry: none is called so.
        """
        return self._control(Kind.RESUME, name)

    def _control(self, kind: str, name: str) -> bool:
        entry_called(name, self.entries)
        with self._line() as line:
            line.declare()
            return line.ask(kind, {"entry": name, "at": utc_now().isoformat()}) is not None

    @contextmanager
    def _line(self) -> Iterator["Line"]:
        options = {"confirm_publish": True}
        with self._app.connection_for_write(transport_options=options) as connection:
            connection.ensure_connection(max_retries=2, interval_start=0, interval_step=1)
            limit = float(setting(self._app, "task_publish_timeout"))
            yield Line(connection, queue_name(self._app), limit)

    def _live(self, told: Mapping[str, Any]) -> ScheduleStatus:
        entries = tuple(self._told(name, entry) for name, entry in sorted(told["entries"].items()))
        return ScheduleStatus(told["leader"], _instant(told["since"]), _instant(told["tick"]), entries)

    def _told(self, name: str, told: Mapping[str, Any]) -> EntryStatus:
        ours = self.entries.get(name)
        return EntryStatus(
            name=name,
            task=told["task"],
            when=told["when"],
            next=_instant(told["next"]),
            last=_instant(told["last"]),
            runs=told["runs"],
            paused=told["paused"],
            same_here=ours is not None and ours.fingerprint == told["fingerprint"],
        )

    def _configured(self) -> Iterator[EntryStatus]:
        for name, entry in sorted(self.entries.items()):
            yield EntryStatus(name, entry.task, entry.when, next(_slots(entry, 1), None))


class Line:
    """A connection to the state queue, from which one asks its leader."""

    def __init__(self, connection: Any, queue: str, limit: float) -> None:
        self._connection = connection
        self._channel = connection.channel()
        self._queue = queue
        self._limit = limit

    def declare(self) -> None:
        """Make the state queue, where no scheduler has done so yet."""
        state_queue(self._queue)(self._channel).declare()

    def has_schedulers(self) -> bool:
        """Whether any scheduler is connected."""
        try:
            return bool(self._channel.queue_declare(self._queue, passive=True).consumer_count)
        except NotFound:
            self._channel = self._connection.channel()
            return False

    def ask(self, kind: str, body: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """Write a record; the leader's answer, or None where there is none in time."""
        answers: list[amqp.Message] = []
        reply_to = f"{self._queue}.answer.{uuid4().hex}"
        own = {"exclusive": True, "auto_delete": True, "arguments": {"x-queue-type": "classic"}}
        self._channel.queue_declare(reply_to, **own)
        self._channel.basic_consume(reply_to, no_ack=True, callback=answers.append)
        # A question is of no interest any more when who asked has gone; what is to be done is.
        lifetime = {"expiration": str(int(PATIENCE * 1000))} if kind == Kind.QUERY else {}
        self._channel.basic_publish(
            message(kind, uuid4().hex, body or {}, reply_to=reply_to, **lifetime),
            routing_key=self._queue,
            mandatory=True,
            confirm_timeout=self._limit,
        )
        if self.has_schedulers():
            self._wait_for(answers)
        return json.loads(answers[0].body) if answers else None

    def _wait_for(self, answers: list[amqp.Message]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not answers and (left := deadline - time.monotonic()) > 0:
            try:
                self._connection.drain_events(timeout=left)
            except TimeoutError:
                return


def _slots(entry: Entry, count: int) -> Iterator[datetime]:
    moment: datetime | None = utc_now()
    for _ in range(count):
        moment = entry.slot_after(moment) if moment else None
        if moment is None:
            return
        yield moment.astimezone(entry.zone)


def _instant(told: str | None) -> datetime | None:
    return datetime.fromisoformat(told).astimezone(UTC) if told else None
