"""The state of a channel: open or closed, its consumers, and its unacknowledged deliveries."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import amqp
from amqp.exceptions import ChannelError, RecoverableConnectionError
from kombu.transport.base import StdChannel

from framework.broker.sqlite import declare
from framework.broker.sqlite.consumers import remove_consumers
from framework.broker.sqlite.database import Transaction
from framework.broker.sqlite.dispatch import dispatch_all, requeue_messages, requeue_undelivered
from framework.broker.sqlite.entities import Queue
from framework.broker.sqlite.messages import Delivery, body_from, decoded
from framework.broker.sqlite.routing import Topology

__all__ = ["ChannelBase", "ChannelConnection", "Consumer"]


class ChannelConnection(Protocol):
    """The part of a connection that its channels use."""

    topology: Topology
    channels: list[Any]
    consumers: dict[int, "Consumer"]

    @property
    def connected(self) -> bool:
        """Whether this process may use the connection."""

    @property
    def owner(self) -> int | None:
        """The number the connection is registered with, if it is."""

    def register(self) -> int:
        """Register the connection, so that it can hold messages and be woken; return its number."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Begin a transaction."""

    def forget(self, consumer: "Consumer") -> object:
        """Remove a consumer."""

    def release_dead_connections(self) -> bool:
        """Release the connections of dead processes."""


@dataclass(eq=False, slots=True)
class Consumer:
    """A consumer of a channel; ``unlimited`` without a prefetch count, ``turn`` is that of the last message read."""

    id: int
    channel: "ChannelBase"
    counted: bool
    tag: str
    callback: Callable[[Any], object]
    on_cancel: Callable[[str], object] | None
    no_ack: bool
    unlimited: bool
    turn: int = 0


class ChannelBase(StdChannel):
    """Opens, resets and closes a channel, and delivers its messages."""

    def __init__(self, connection: ChannelConnection) -> None:
        self.connection: ChannelConnection | None = connection
        self.consumers: dict[str, Consumer] = {}
        self.no_ack_consumers: set[str] = set()
        self.events: defaultdict[str, set[Callable[..., object]]] = defaultdict(set)
        self._id: int | None = None
        self._new_prefetch = self._shared_prefetch = 0
        self._unacked: dict[int, int] = {}
        self._last_queue = ""
        self._last_tag = 0
        self._published = 0

    def close(self, *_: Any) -> None:
        """Close the channel: cancel its consumers and requeue its unacknowledged messages."""
        connection = self.connection
        if connection is not None:
            if connection.connected:
                self._reset()
            self.collect()

    def collect(self) -> None:
        """Drop the channel without writing to the file."""
        connection, self.connection = self.connection, None
        if connection is not None and self in connection.channels:
            connection.channels.remove(self)
        self.consumers.clear()
        self.events.clear()
        self._unacked.clear()

    def _reset(self) -> None:
        self._shared_prefetch = 0  # what leaves a channel that closes is not replaced
        if self.consumers or self._unacked or self._id is not None:
            with self._open().transaction() as transaction:
                self._remove(transaction, list(self.consumers.values()))
                returned = requeue_messages(transaction, self._topology, list(self._unacked.values()))
                dispatch_all(transaction, self._topology, returned)
                transaction.execute("delete from channel where id = ?", (self._id,))
        self.consumers.clear()
        self._unacked.clear()
        self._id = None
        self._new_prefetch = 0

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        """Begin a transaction; an error closes the channel, as in AMQP, and reopens it, as py-amqp does."""
        try:
            with self._open().transaction() as transaction:
                yield transaction
        except ChannelError:
            self._reset()
            raise

    def _open(self) -> ChannelConnection:
        if self.connection is None:
            raise RecoverableConnectionError("channel already closed")
        return self.connection

    @property
    def _topology(self) -> Topology:
        return self._open().topology

    def _queue(self, transaction: Transaction, name: str) -> Queue:
        connection = self._open()
        return declare.usable_queue(transaction, connection.topology, name or self._last_queue, connection.owner)

    def _remove(self, transaction: Transaction, consumers: Sequence[Consumer]) -> None:
        """Remove consumers; messages that were dispatched to them and not delivered are requeued uncounted."""
        for consumer in consumers:
            self._open().forget(consumer)
            self.no_ack_consumers.discard(consumer.tag)
            held = transaction.execute(
                "select id from message where holder = ? and consumer = ?", (self._open().owner, consumer.id)
            )
            delivered = set(self._unacked.values())
            queues = requeue_undelivered(
                transaction, [message_id for (message_id,) in held.fetchall() if message_id not in delivered]
            )
            remove_consumers(transaction, self._topology, [consumer.id])
            self._dispatch(transaction, queues)

    def _dispatch(self, transaction: Transaction, queues: Iterable[int]) -> None:
        """Dispatch the queues that messages of this channel left or returned to.

        Under a prefetch count of the channel these made room for messages of any of its queues: the one that waits for
        the longest time is first.
        """
        if self._shared_prefetch:
            queues = dict.fromkeys((*self._consumed(transaction, self._id), *queues))
        dispatch_all(transaction, self._topology, queues)

    def _consumed(self, transaction: Transaction, channel: int | None) -> list[int]:
        """Return the ids of the queues that a channel consumes, the one whose last delivery was first at the front."""
        rows = transaction.execute("select queue from consumer where channel = ? order by turn", (channel,))
        return [queue for (queue,) in rows.fetchall()]

    def received(self, consumer: Consumer, delivery: Delivery) -> amqp.Message:
        """Return the message as it is delivered to ``consumer``."""
        message = self._message(delivery, counted=consumer.counted, no_ack=consumer.no_ack)
        message.delivery_info["consumer_tag"] = consumer.tag
        return message

    def _message(self, delivery: Delivery, *, counted: bool, no_ack: bool) -> amqp.Message:
        self._last_tag += 1
        if not no_ack:
            self._unacked[self._last_tag] = delivery.id
        properties = decoded(delivery.properties)
        if counted:
            properties["application_headers"] = {
                **(properties.get("application_headers") or {}),
                "x-delivery-count": delivery.redeliveries,
            }
        message = amqp.Message(body_from(delivery.body, properties), channel=self, **properties)
        message.delivery_info = {
            "delivery_tag": self._last_tag,
            "redelivered": delivery.redeliveries > 0,
            "exchange": delivery.exchange,
            "routing_key": delivery.routing_key,
        }
        return message
