"""The state of a channel: open or closed, its consumers, and the deliveries they have not acknowledged."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import amqp
from amqp.exceptions import ChannelError, RecoverableConnectionError
from kombu.transport.base import StdChannel

from framework.broker.sqlite import declare
from framework.broker.sqlite.consumers import remove_consumers
from framework.broker.sqlite.database import Transaction
from framework.broker.sqlite.dispatch import dispatch_all, requeue_messages, return_unseen
from framework.broker.sqlite.entities import Queue
from framework.broker.sqlite.messages import Delivery, body_from, decoded
from framework.broker.sqlite.routing import Topology

__all__ = ["ChannelBase", "ChannelConnection", "Consumer"]


class ChannelConnection(Protocol):
    """What a channel needs of the connection that it belongs to."""

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
        """Register the connection, so that it can hold messages and be woken; its number."""

    def working(self) -> AbstractContextManager[Transaction]:
        """Begin a transaction."""

    def forget(self, consumer: "Consumer") -> object:
        """Drop a consumer."""

    def release_dead_connections(self) -> bool:
        """Free what connections of vanished processes hold."""


@dataclass(eq=False, slots=True)
class Consumer:
    """A consumer of a channel; ``unlimited`` when it has no prefetch count, ``turn`` is the last it has read."""

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
    """The life of a channel."""

    def __init__(self, connection: ChannelConnection) -> None:
        self.connection: ChannelConnection | None = connection
        self.consumers: dict[str, Consumer] = {}
        self.no_ack_consumers: set[str] = set()
        self.events: defaultdict[str, set[Callable[..., object]]] = defaultdict(set)
        self._id: int | None = None
        self._new_prefetch = 0
        self._unacked: dict[int, int] = {}
        self._last_queue = ""
        self._last_tag = 0

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
                returned = requeue_messages(work, self._topology, list(self._unacked.values()))
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

    def _open(self) -> ChannelConnection:
        if self.connection is None:
            raise RecoverableConnectionError("channel already closed")
        return self.connection

    @property
    def _topology(self) -> Topology:
        return self._open().topology

    def _queue(self, work: Transaction, name: str) -> Queue:
        connection = self._open()
        return declare.usable_queue(work, connection.topology, name or self._last_queue, connection.owner)

    def _remove(self, work: Transaction, consumers: Sequence[Consumer]) -> None:
        """End consumers; what they were handed and have not seen goes back unseen."""
        for consumer in consumers:
            self._open().forget(consumer)
            self.no_ack_consumers.discard(consumer.tag)
            handed = work.execute(
                "select id from message where holder = ? and consumer = ?", (self._open().owner, consumer.id)
            )
            seen = set(self._unacked.values())
            queues = return_unseen(work, [message for (message,) in handed.fetchall() if message not in seen])
            remove_consumers(work, self._topology, [consumer.id])
            dispatch_all(work, self._topology, queues)

    def received(self, consumer: Consumer, taken: Delivery) -> amqp.Message:
        """The message as ``consumer`` is handed it."""
        message = self._message(taken, counted=consumer.counted, no_ack=consumer.no_ack)
        message.delivery_info["consumer_tag"] = consumer.tag
        return message

    def _message(self, taken: Delivery, *, counted: bool, no_ack: bool) -> amqp.Message:
        self._last_tag += 1
        if not no_ack:
            self._unacked[self._last_tag] = taken.id
        properties = decoded(taken.properties)
        if counted:
            properties["application_headers"] = {
                **(properties.get("application_headers") or {}),
                "x-delivery-count": taken.returns,
            }
        message = amqp.Message(body_from(taken.body, properties), channel=self, **properties)
        message.delivery_info = {
            "delivery_tag": self._last_tag,
            "redelivered": taken.returns > 0,
            "exchange": taken.exchange,
            "routing_key": taken.routing_key,
        }
        return message
