"""What a channel is before it does anything: open or closed, with its consumers and what they have not settled."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from amqp.exceptions import ChannelError, RecoverableConnectionError
from kombu.transport.base import StdChannel

from framework.broker import declarations
from framework.broker.consumers import remove_consumers
from framework.broker.consuming import Consumer
from framework.broker.posting import give_back
from framework.broker.queues import put_back
from framework.broker.store import Transaction
from framework.broker.topology import Queue, Topology

if TYPE_CHECKING:
    from framework.broker.connection import Connection

__all__ = ["Session", "Unacked"]


class Unacked(NamedTuple):
    """A message that was delivered and is not settled."""

    id: int
    consumer: Consumer | None


class Session(StdChannel):
    """The life of a channel."""

    def __init__(self, connection: "Connection") -> None:
        self.connection: Connection | None = connection
        self.consumers: dict[str, Consumer] = {}
        self.no_ack_consumers: set[str] = set()
        self.events: defaultdict[str, set[Callable[..., object]]] = defaultdict(set)
        self.prefetch = 0
        self.held = 0
        self.active = True
        self._unacked: dict[int, Unacked] = {}
        self._last_queue = ""

    def close(self, *_: Any) -> None:
        """Close the channel: its consumers end, and what is unsettled goes back to its place."""
        connection = self.connection
        if connection is not None:
            if connection.connected:
                self._reset()
            self.collect()

    def collect(self) -> None:
        """Let go of everything without a word to the file."""
        connection, self.connection = self.connection, None
        if connection is not None and self in connection.channels:
            connection.channels.remove(self)
        self.consumers.clear()
        self.events.clear()
        self._unacked.clear()

    def _reset(self) -> None:
        if self.consumers or self._unacked:
            with self._open().working() as work:
                self._remove(work, list(self.consumers.values()))
                give_back(work, self._topology, [unacked.id for unacked in self._unacked.values()])
        self.consumers.clear()
        self._unacked.clear()
        self.held = 0

    @contextmanager
    def _working(self) -> Iterator[Transaction]:
        """A transaction; a refusal closes the channel, as AMQP has it, and opens it anew, as py-amqp does."""
        try:
            with self._open().working() as work:
                yield work
        except ChannelError:
            self._reset()
            raise

    def _open(self) -> "Connection":
        if self.connection is None:
            raise RecoverableConnectionError("channel already closed")
        return self.connection

    @property
    def _topology(self) -> Topology:
        return self._open().topology

    def _queue(self, work: Transaction, name: str) -> Queue:
        connection = self._open()
        return declarations.queue_for(work, connection.topology, name or self._last_queue, connection.owner)

    def _remove(self, work: Transaction, consumers: Sequence[Consumer]) -> None:
        remove_consumers(work, self._topology, [consumer.id for consumer in consumers])
        for consumer in consumers:
            undelivered = self._open().forget(consumer)
            consumer.hold(-len(undelivered))
            put_back(work, undelivered)
            self.no_ack_consumers.discard(consumer.tag)
