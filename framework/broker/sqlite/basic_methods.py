"""AMQP's basic methods, which consume and acknowledge; arguments and their defaults are py-amqp's."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import amqp
from amqp.exceptions import NotAllowed

from framework.broker.sqlite import amqp_errors, declare, maintenance
from framework.broker.sqlite.channel_base import ChannelBase, Consumer
from framework.broker.sqlite.consumers import add_channel, add_consumer
from framework.broker.sqlite.database import Transaction
from framework.broker.sqlite.dispatch import dispatch, dispatch_all, requeue_messages
from framework.broker.sqlite.messages import Delivery, delete_acked, head, length, take
from framework.broker.sqlite.publish import dead_letter

__all__ = ["BasicMethods"]


class BasicMethods(ChannelBase):
    """The methods of a channel that consume, get, acknowledge and refuse messages."""

    def basic_qos(self, _prefetch_size: int, prefetch_count: int, a_global: bool = False) -> None:
        """Limit the unacknowledged messages of the channel (global) or of each next consumer; 0 is unlimited."""
        if not a_global:
            self._new_prefetch = prefetch_count
            return
        self._set("update channel set prefetch = ? where id = ?", prefetch_count)
        self._shared_prefetch = prefetch_count

    def flow(self, active: bool) -> None:
        """Stop deliveries to this channel, or resume them."""
        self._set("update channel set active = ? where id = ?", active)

    def _set(self, sql: str, value: int) -> None:
        owner = self._open().register()
        with self._transaction() as transaction:
            channel = self._number(transaction, owner)
            transaction.execute(sql, (value, channel))
            dispatch_all(transaction, self._topology, self._consumed(transaction, channel))

    def _number(self, transaction: Transaction, owner: int) -> int:
        if self._id is None:
            self._id = add_channel(transaction, owner)
        return self._id

    def basic_consume(
        self,
        queue: str = "",
        consumer_tag: str = "",
        no_ack: bool = False,
        exclusive: bool = False,
        callback: Callable[[Any], object] | None = None,
        arguments: Mapping[str, Any] | None = None,
        on_cancel: Callable[[str], object] | None = None,
        **_: Any,
    ) -> str:
        """Deliver a queue's messages to ``callback`` while the connection is drained; return the consumer's tag."""
        tag = consumer_tag or f"amq.ctag-{uuid4().hex}"
        if tag in self.consumers:
            raise NotAllowed(f"NOT_ALLOWED - attempt to reuse consumer tag {tag!r}", reply_code=530)
        connection = self._open()
        owner = connection.register()
        priority = int((arguments or {}).get("x-priority", 0))
        with self._transaction() as transaction:
            found = self._queue(transaction, queue)
            number = add_consumer(
                transaction,
                found,
                owner,
                self._number(transaction, owner),
                exclusive=exclusive,
                priority=priority,
                prefetch=self._new_prefetch,
                no_ack=no_ack,
            )
            unlimited = no_ack or self._new_prefetch == 0
            consumer = Consumer(
                number, self, found.counts_deliveries, tag, callback or _ignore, on_cancel, no_ack, unlimited
            )
            dispatch(transaction, self._topology, found)
        self.consumers[tag] = connection.consumers[number] = consumer
        if no_ack:
            self.no_ack_consumers.add(tag)
        return tag

    def basic_cancel(self, consumer_tag: str, **_: Any) -> None:
        """Cancel a consumer; its unacknowledged messages stay with the channel."""
        if self.connection is None or consumer_tag not in self.consumers:
            return
        with self._transaction() as transaction:
            self._remove(transaction, [self.consumers.pop(consumer_tag)])

    def basic_get(self, queue: str = "", no_ack: bool = False, **_: Any) -> amqp.Message | None:
        """Return the next message of a queue, or None."""
        connection = self._open()
        owner = None if no_ack else connection.register()
        delivery, left, counted = self._get(queue, owner)
        if delivery is None and connection.release_dead_connections():
            delivery, left, counted = self._get(queue, owner)
        if delivery is None:
            return None
        message = self._message(delivery, counted=counted, no_ack=no_ack)
        message.delivery_info["message_count"] = left
        return message

    def _get(self, queue: str, owner: int | None) -> tuple[Delivery | None, int, bool]:
        connection = self._open()
        with self._transaction() as transaction:
            maintenance.expire(transaction, connection.topology)
            found = self._queue(transaction, queue)
            declare.restart_expiry(transaction, found)
            delivery = take(transaction, found, owner)
            dispatch(transaction, connection.topology, found)
            return delivery, length(transaction, found), found.counts_deliveries

    def peek(self, queue: str) -> amqp.Message | None:
        """Return the next message of a queue, which stays there, or None; AMQP has no such method."""
        connection = self._open()
        with self._transaction() as transaction:
            maintenance.expire(transaction, connection.topology)
            found = self._queue(transaction, queue)
            declare.restart_expiry(transaction, found)
            delivery = head(transaction, found)
            left = length(transaction, found) - 1
        if delivery is None:
            return None
        message = self._message(delivery, counted=found.counts_deliveries, no_ack=True)
        message.delivery_info["message_count"] = left
        return message

    def basic_ack(self, delivery_tag: int, multiple: bool = False, **_: Any) -> None:
        """Acknowledge a message, with ``multiple`` all up to it."""
        with self._deliveries_for(delivery_tag, multiple) as (transaction, ids):
            self._dispatch(transaction, delete_acked(transaction, ids))

    def basic_reject(self, delivery_tag: int, requeue: bool, **_: Any) -> None:
        """Refuse a message: requeue it in its place, or dead-letter it."""
        self.basic_nack(delivery_tag, multiple=False, requeue=requeue)

    def basic_nack(self, delivery_tag: int, multiple: bool = False, requeue: bool = True) -> None:
        """Refuse a message, with ``multiple`` all up to it: requeue or dead-letter them."""
        with self._deliveries_for(delivery_tag, multiple) as (transaction, ids):
            topology = self._topology
            queues = (
                requeue_messages(transaction, topology, ids)
                if requeue
                else dead_letter(transaction, topology, ids, "rejected")
            )
            self._dispatch(transaction, queues)

    def basic_recover(self, requeue: bool = False) -> None:  # noqa: ARG002
        """Requeue all unacknowledged messages; ``requeue`` is ignored, as in RabbitMQ."""
        with self._deliveries_for(0, multiple=True) as (transaction, ids):
            self._dispatch(transaction, requeue_messages(transaction, self._topology, ids))

    @contextmanager
    def _deliveries_for(self, delivery_tag: int, multiple: bool) -> Iterator[tuple[Transaction, list[int]]]:
        with self._transaction() as transaction:
            tags = self._tags(delivery_tag, multiple)
            yield transaction, [self._unacked[tag] for tag in tags]
        for tag in tags:
            self._unacked.pop(tag, None)

    def _tags(self, delivery_tag: int, multiple: bool) -> list[int]:
        if multiple:
            tags = [tag for tag in self._unacked if tag <= delivery_tag or delivery_tag == 0]
        else:
            tags = [delivery_tag] if delivery_tag in self._unacked else []
        if not tags and delivery_tag != 0:
            raise amqp_errors.invalid(f"unknown delivery tag {delivery_tag}")
        return tags


def _ignore(message: object) -> None:
    """Drop a message, as py-amqp does for a consumer without a callback."""
