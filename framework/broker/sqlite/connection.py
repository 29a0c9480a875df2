"""A connection to the embedded broker: its registration, its consumers, and the messages read for them."""

import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from amqp.exceptions import ConsumerCancelled, RecoverableConnectionError

from framework.broker.deadline import bounded
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


#: Seconds between the checks of an idle connection: for dead connections, passed deadlines, and lost wake-ups.
MAINTENANCE_SECONDS = 0.5

_DELIVERIES = """
    select turn, id, exchange, routing_key, properties, body, returns
    from message where holder = ? and consumer = ? and turn > ? order by turn limit ?"""


class Connection:
    """The connection behind a kombu connection on ``sqlite:///``; threads may share it as they share py-amqp's."""

    def __init__(self, client: Any, path: Path, synchronous: str = "normal") -> None:
        self.client = client
        self.path = path
        self.database = Database(path, synchronous)
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
        self.database.read("select version from topology")

    @property
    def connected(self) -> bool:
        """Whether this process may use the connection: it is neither closed nor inherited by a fork."""
        return not self._closed and self._pid == os.getpid()

    def channel(self) -> Channel:
        """Return a new channel."""
        self._check()
        channel = Channel(self)
        self.channels.append(channel)
        return channel

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Begin a transaction on a current topology."""
        self._check()
        with self._closing_on_error(), self.database.transaction() as transaction:
            try:
                self.topology.refresh(transaction)
                if self.topology.version != self._checked_version:
                    self._find_cancelled(transaction)
                yield transaction
            except BaseException:
                self.topology.version = -1  # what this transaction declared does not exist
                raise

    @contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        # After a failed transaction this connection's state may differ from the file's: the connection is closed, and
        # its unacknowledged messages are requeued.
        try:
            yield
        except BrokerError:
            self.collect()
            raise

    def register(self) -> int:
        """Return the connection's number, and register it first: then it can hold messages and be woken."""
        with self.database.lock:
            self._check()
            self._registration = self._registration or Registration(self.database)
            return self._registration.number

    @property
    def owner(self) -> int | None:
        """The number the connection is registered with, if it is."""
        return self._registration.number if self._registration else None

    def fileno(self) -> int:
        """Return a descriptor that is readable when there may be messages to drain."""
        return self._wakeup.fileno()

    def wake(self) -> None:
        """Wake the thread or event loop that drains this connection."""
        if self._registration is not None and self.connected:
            self._registration.wakeup.wake()

    @property
    def _wakeup(self) -> WakeupPipe:
        self.register()
        assert self._registration is not None  # noqa: S101
        return self._registration.wakeup

    def drain_events(self, timeout: float | None = None) -> None:
        """Wait for a message, then deliver all that are ready to their consumers; see `deliver_next`."""
        self.deliver_next(timeout)
        for _ in range(len(self.inbox)):  # not those that come meanwhile: a turn ends
            self._deliver()

    def deliver_next(self, timeout: float | None = None) -> None:
        """Deliver the next message to its consumer.

        Args:
            timeout: seconds to wait for it; None waits without limit, or to the deadline of the call.

        Raises:
            TimeoutError: none came in time.
            amqp.exceptions.ConsumerCancelled: a consumer's queue was deleted.
        """
        timeout = bounded(timeout)
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
        """Read the messages dispatched to this connection's consumers."""
        with self.database.lock:
            if not self.consumers or self._ready():
                return
            for consumer in list(self.consumers.values()):
                self._read(consumer)
            if not self.inbox:
                self._check_topology()

    def _read(self, consumer: Consumer) -> None:
        rows = self.database.read(_DELIVERIES, self.owner, consumer.id, consumer.turn, UNREAD_WINDOW)
        if rows:
            if consumer.unlimited:
                self._refill_window(consumer, [row[1] for row in rows])
            consumer.turn = rows[-1][0]
            self.inbox.extend((consumer, Delivery._make(row[1:])) for row in rows)

    def _refill_window(self, consumer: Consumer, read: list[int]) -> None:
        """Dispatch more to a consumer without a prefetch count; delete its messages if it does not acknowledge."""
        with self.transaction() as transaction:
            if consumer.no_ack:
                delete_acked(transaction, read)
            queue = transaction.value("update consumer set unread = 0 where id = ? returning queue", consumer.id)
            dispatch_all(transaction, self.topology, [queue] if queue else [])

    def _check_topology(self) -> None:
        version = self.database.read("select version from topology")[0][0]
        if version != self._checked_version:
            with self.transaction():
                pass

    def _ready(self) -> bool:
        return bool(self.inbox or self._cancelled)

    def run_due_work(self) -> float:
        """Release dead connections and expire messages and queues; return the seconds until the next deadline."""
        if time.monotonic() - self._last_maintenance >= MAINTENANCE_SECONDS / 2:
            self._last_maintenance = time.monotonic()
            with self._closing_on_error():
                self.database.check_still_there()
            self.release_dead_connections()
            if dead_letters.undelivered_due(self.database, time.time()):
                with self.transaction() as transaction:
                    maintenance.expire(transaction, self.topology)
        deadline = maintenance.next_deadline(self.database)
        now = time.time()
        if deadline is not None and deadline <= now:
            with self.transaction() as transaction:
                maintenance.expire(transaction, self.topology)
            return 0.0
        return MAINTENANCE_SECONDS if deadline is None else min(MAINTENANCE_SECONDS, deadline - now)

    def release_dead_connections(self) -> bool:
        """Release the connections of dead processes; return whether there were any."""
        dead = maintenance.dead_connections(self.database)
        for owner in dead:
            with self.transaction() as transaction:
                maintenance.release_connection(transaction, self.topology, owner)
            wakeup.remove(self.path, owner)
        return bool(dead)

    def forget(self, consumer: Consumer) -> set[int]:
        """Remove a consumer; return the ids of the messages that were read for it and not delivered."""
        self.consumers.pop(consumer.id, None)
        undelivered = {message.id for of, message in self.inbox if of is consumer}
        self.inbox = deque(entry for entry in self.inbox if entry[0] is not consumer)
        return undelivered

    def close(self) -> None:
        """Close the connection; its unacknowledged messages are requeued at once."""
        with self.database.lock:
            if not self.connected:
                self._closed = True
                return
            if self.owner is not None:
                with suppress(BrokerError), self.transaction() as transaction:
                    maintenance.release_connection(transaction, self.topology, self.owner)
            self.collect()

    def collect(self) -> None:
        """Drop the connection without writing to the file; other connections release it as if the process had died."""
        mine = self.connected
        self._closed = True
        for channel in list(self.channels):
            channel.collect()
        self.consumers.clear()
        self.inbox.clear()
        if mine:
            if self._registration is not None:
                self._registration.end()
            self.database.close()

    def _deliver(self) -> bool:
        if self._cancelled:
            self._notify_cancelled(self._cancelled.popleft())
        with self.database.lock:
            if not self.inbox:
                return False
            consumer, delivery = self.inbox.popleft()
            message = consumer.channel.received(consumer, delivery)
        consumer.callback(message)
        return True

    def _notify_cancelled(self, consumer: Consumer) -> None:
        consumer.channel.consumers.pop(consumer.tag, None)
        if consumer.on_cancel is None:
            raise ConsumerCancelled(consumer.tag, (60, 30))
        consumer.on_cancel(consumer.tag)

    def _find_cancelled(self, transaction: Transaction) -> None:
        if self.consumers:
            alive = {
                alive for (alive,) in transaction.execute("select id from consumer where owner = ?", (self.owner,))
            }
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
