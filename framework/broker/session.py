"""What a channel is before it does anything: open or closed, with its consumers and what they have not settled."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from amqp.exceptions import ChannelError, RecoverableConnectionError
from kombu.transport.base import StdChannel

from framework.broker import declarations
from framework.broker.consumers import remove_consumers
from framework.broker.consuming import Consumer
from framework.broker.declared import Queue
from framework.broker.posting import dispatch_all, give_back, put_back
from framework.broker.store import Transaction
from framework.broker.topology import Topology

if TYPE_CHECKING:
    from framework.broker.connection import Connection

__all__ = ["Session"]


class Session(StdChannel):
    """The life of a channel."""

    def __init__(self, connection: "Connection") -> None:
        self.connection: Connection | None = connection
        self.consumers: dict[str, Consumer] = {}
        self.no_ack_consumers: set[str] = set()
        self.events: defaultdict[str, set[Callable[..., object]]] = defaultdict(set)
        self._id: int | None = None
        self._new_prefetch = 0
        self._unacked: dict[int, int] = {}
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
        if self.consumers or self._unacked or self._id is not None:
            with self._open().working() as work:
                self._remove(work, list(self.consumers.values()))
                returned = give_back(work, self._topology, list(self._unacked.values()))
                dispatch_all(work, self._topology, returned)
                work.execute("delete from channel where id = ?", (self._id,))
        self.consumers.clear()
        self._unacked.clear()
        self._id = None
        self._new_prefetch = 0

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
        """End consumers; what they were handed and have not seen goes back unseen."""
        for consumer in consumers:
            self._open().forget(consumer)
            self.no_ack_consumers.discard(consumer.tag)
            handed = work.execute(
                "select id from message where holder = ? and consumer = ?", (self._open().owner, consumer.id)
            )
            seen = set(self._unacked.values())
            queues = put_back(work, [message for (message,) in handed.fetchall() if message not in seen])
            remove_consumers(work, self._topology, [consumer.id])
            dispatch_all(work, self._topology, queues)
