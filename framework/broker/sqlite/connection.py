"""One connection to the embedded broker: its name among the living, its consumers, and what lies ready for them."""

import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from amqp.exceptions import ConsumerCancelled, RecoverableConnectionError

from framework.broker.sqlite import dead_letters, maintenance, wakeup
from framework.broker.sqlite.channel import Channel
from framework.broker.sqlite.channel_base import Consumer
from framework.broker.sqlite.database import Database, Transaction
from framework.broker.sqlite.dispatch import dispatch_all
from framework.broker.sqlite.liveness import Registration
from framework.broker.sqlite.messages import Delivery, delete_acked
from framework.broker.sqlite.ready_consumer import UNREAD_WINDOW
from framework.broker.sqlite.routing import Topology
from framework.broker.sqlite.wakeup import WakeupPipe
from framework.errors import BrokerError

__all__ = ["Connection"]


#: Seconds between the looks of an idle connection: for dead owners, passed deadlines, and wake-ups that got lost.
MAINTENANCE_SECONDS = 0.5

_DELIVERIES = """
    select turn, id, exchange, routing_key, properties, body, returns
    from message where holder = ? and consumer = ? and turn > ? order by turn limit ?"""


class Connection:
    """What a kombu connection on ``sqlite:///`` holds; threads may share it as they share py-amqp's."""

    def __init__(self, client: Any, path: Path, synchronous: str = "normal") -> None:
        self.client = client
        self.path = path
        self.store = Database(path, synchronous)
        self.topology = Topology()
        self.channels: list[Channel] = []
        self.consumers: dict[int, Consumer] = {}
        self.inbox: deque[tuple[Consumer, Delivery]] = deque()
        self._pid = os.getpid()
        self._closed = False
        self._registration: Registration | None = None
        self._cancelled: deque[Consumer] = deque()
        self._checked_version = -1
        self._last_maintenance = 0.0
        self.store.read("select version from topology")

    @property
    def connected(self) -> bool:
        """Whether this process may use the connection: not closed, not inherited by a fork."""
        return not self._closed and self._pid == os.getpid()

    def channel(self) -> Channel:
        """A new channel."""
        self._check()
        channel = Channel(self)
        self.channels.append(channel)
        return channel

    @contextmanager
    def working(self) -> Iterator[Transaction]:
        """A transaction that knows what is declared at its time."""
        self._check()
        with self._closing_on_error(), self.store.writing() as work:
            try:
                self.topology.refresh(work)
                if self.topology.version != self._checked_version:
                    self._find_cancelled(work)
                yield work
            except BaseException:
                self.topology.version = -1  # what this transaction declared does not exist
                raise

    @contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        # A transaction that failed may have been half of what this connection believes: it starts anew, and what it
        # held goes back to the queues.
        try:
            yield
        except BrokerError:
            self.collect()
            raise

    def register(self) -> int:
        """This connection's number among the living, by which it can hold messages and be woken."""
        with self.store.lock:
            self._check()
            self._registration = self._registration or Registration(self.store)
            return self._registration.number

    @property
    def owner(self) -> int | None:
        """That number, if there was need for one."""
        return self._registration.number if self._registration else None

    def fileno(self) -> int:
        """A descriptor that is readable when there may be something to drain."""
        return self._wakeup.fileno()

    def wake(self) -> None:
        """Wake whichever thread or event loop drains this connection."""
        if self._registration is not None and self.connected:
            self._registration.wakeup.wake()

    @property
    def _wakeup(self) -> WakeupPipe:
        self.register()
        assert self._registration is not None  # noqa: S101
        return self._registration.wakeup

    def drain_events(self, timeout: float | None = None) -> None:
        """Hand the next message to its consumer.

        Args:
            timeout: seconds to wait for it; None waits for ever.

        Raises:
            TimeoutError: there was none in time.
            amqp.exceptions.ConsumerCancelled: a consumer's queue was deleted.
        """
        pipe = self._wakeup
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._deliver():
            pipe.clear()
            self.fetch()
            pause = 0.0 if self._ready() else self.run_due_work()
            if self._ready() or pause <= 0:
                continue
            if deadline is not None:
                pause = min(pause, deadline - time.monotonic())
                if pause <= 0:
                    raise TimeoutError("timed out")
            pipe.wait(pause)
            self._check()

    def fetch(self) -> None:
        """Read what was handed to the consumers of this connection."""
        with self.store.lock:
            if not self.consumers or self._ready():
                return
            for consumer in list(self.consumers.values()):
                self._read(consumer)
            if not self.inbox:
                self._check_topology()

    def _read(self, consumer: Consumer) -> None:
        rows = self.store.read(_DELIVERIES, self.owner, consumer.id, consumer.turn, UNREAD_WINDOW)
        if rows:
            if consumer.unlimited:
                self._refill_window(consumer, [row[1] for row in rows])
            consumer.turn = rows[-1][0]
            self.inbox.extend((consumer, Delivery._make(row[1:])) for row in rows)

    def _refill_window(self, consumer: Consumer, read: list[int]) -> None:
        """Let a consumer without a prefetch count be handed more, and forget what it will not acknowledge."""
        with self.working() as work:
            if consumer.no_ack:
                delete_acked(work, read)
            queue = work.value("update consumer set unread = 0 where id = ? returning queue", consumer.id)
            dispatch_all(work, self.topology, [queue] if queue else [])

    def _check_topology(self) -> None:
        version = self.store.read("select version from topology")[0][0]
        if version != self._checked_version:
            with self.working():
                pass

    def _ready(self) -> bool:
        return bool(self.inbox or self._cancelled)

    def run_due_work(self) -> float:
        """Do what is due, about dead owners and deadlines; seconds until the next look."""
        if time.monotonic() - self._last_maintenance >= MAINTENANCE_SECONDS / 2:
            self._last_maintenance = time.monotonic()
            with self._closing_on_error():
                self.store.check_still_there()
            self.release_dead_connections()
            if dead_letters.undelivered_due(self.store, time.time()):
                with self.working() as work:
                    maintenance.expire(work, self.topology)
        deadline = maintenance.next_deadline(self.store)
        now = time.time()
        if deadline is not None and deadline <= now:
            with self.working() as work:
                maintenance.expire(work, self.topology)
            return 0.0
        return MAINTENANCE_SECONDS if deadline is None else min(MAINTENANCE_SECONDS, deadline - now)

    def release_dead_connections(self) -> bool:
        """Free what connections of vanished processes hold; true when there were any."""
        dead = maintenance.dead_connections(self.store)
        for owner in dead:
            with self.working() as work:
                maintenance.release_connection(work, self.topology, owner)
            wakeup.remove(self.path, owner)
        return bool(dead)

    def forget(self, consumer: Consumer) -> set[int]:
        """Drop a consumer; the messages that were read for it and not delivered."""
        self.consumers.pop(consumer.id, None)
        undelivered = {message.id for of, message in self.inbox if of is consumer}
        self.inbox = deque(entry for entry in self.inbox if entry[0] is not consumer)
        return undelivered

    def close(self) -> None:
        """End the connection: what it holds goes back to the queues at once."""
        with self.store.lock:
            if not self.connected:
                self._closed = True
                return
            if self.owner is not None:
                with suppress(BrokerError), self.working() as work:
                    maintenance.release_connection(work, self.topology, self.owner)
            self.collect()

    def collect(self) -> None:
        """Let go of everything without a word to the file; what this held is freed as if the process had died."""
        mine = self.connected
        self._closed = True
        for channel in list(self.channels):
            channel.collect()
        self.consumers.clear()
        self.inbox.clear()
        if mine:
            if self._registration is not None:
                self._registration.end()
            self.store.close()

    def _deliver(self) -> bool:
        if self._cancelled:
            self._notify_cancelled(self._cancelled.popleft())
        with self.store.lock:
            if not self.inbox:
                return False
            consumer, taken = self.inbox.popleft()
            message = consumer.channel.received(consumer, taken)
        consumer.callback(message)
        return True

    def _notify_cancelled(self, consumer: Consumer) -> None:
        consumer.channel.consumers.pop(consumer.tag, None)
        if consumer.on_cancel is None:
            raise ConsumerCancelled(consumer.tag, (60, 30))
        consumer.on_cancel(consumer.tag)

    def _find_cancelled(self, work: Transaction) -> None:
        if self.consumers:
            alive = {alive for (alive,) in work.execute("select id from consumer where owner = ?", (self.owner,))}
            for cancelled in self.consumers.keys() - alive:
                consumer = self.consumers[cancelled]
                self.forget(consumer)
                self._cancelled.append(consumer)
        self._checked_version = self.topology.version

    def _check(self) -> None:
        if self._closed:
            raise RecoverableConnectionError("connection already closed")
        if self._pid != os.getpid():
            raise RecoverableConnectionError("this connection was opened before a fork; the child must open its own")
