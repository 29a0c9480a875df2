"""The half of a channel that consumes and settles; arguments and their defaults are py-amqp's."""

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
from framework.broker.sqlite.messages import Delivery, delete_acked, length, take
from framework.broker.sqlite.publish import dead_letter

__all__ = ["BasicMethods"]


class BasicMethods(ChannelBase):
    """Consumers, single gets, and what becomes of what they were given."""

    def basic_qos(self, _prefetch_size: int, prefetch_count: int, a_global: bool = False) -> None:
        """How many unsettled messages the channel (global) or each of its next consumers may hold; 0 is unlimited."""
        if not a_global:
            self._new_prefetch = prefetch_count
            return
        self._set("update channel set prefetch = ? where id = ?", prefetch_count)

    def flow(self, active: bool) -> None:
        """Stop deliveries to this channel, or go on with them."""
        self._set("update channel set active = ? where id = ?", active)

    def _set(self, sql: str, value: int) -> None:
        owner = self._open().register()
        with self._working() as work:
            channel = self._number(work, owner)
            work.execute(sql, (value, channel))
            queues = work.execute("select distinct queue from consumer where channel = ?", (channel,)).fetchall()
            dispatch_all(work, self._topology, [queue for (queue,) in queues])

    def _number(self, work: Transaction, owner: int) -> int:
        if self._id is None:
            self._id = add_channel(work, owner)
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
        """Have the messages of a queue handed to ``callback`` while the connection is drained; the consumer's tag."""
        tag = consumer_tag or f"amq.ctag-{uuid4().hex}"
        if tag in self.consumers:
            raise NotAllowed(f"NOT_ALLOWED - attempt to reuse consumer tag {tag!r}", reply_code=530)
        connection = self._open()
        owner = connection.register()
        priority = int((arguments or {}).get("x-priority", 0))
        with self._working() as work:
            found = self._queue(work, queue)
            number = add_consumer(
                work,
                found,
                owner,
                self._number(work, owner),
                exclusive=exclusive,
                priority=priority,
                prefetch=self._new_prefetch,
                no_ack=no_ack,
            )
            unlimited = no_ack or self._new_prefetch == 0
            consumer = Consumer(
                number, self, found.counts_deliveries, tag, callback or _ignore, on_cancel, no_ack, unlimited
            )
            dispatch(work, self._topology, found)
        self.consumers[tag] = connection.consumers[number] = consumer
        if no_ack:
            self.no_ack_consumers.add(tag)
        return tag

    def basic_cancel(self, consumer_tag: str, **_: Any) -> None:
        """Stop a consumer; what it was given and has not settled stays with the channel."""
        if self.connection is None or consumer_tag not in self.consumers:
            return
        with self._working() as work:
            self._remove(work, [self.consumers.pop(consumer_tag)])

    def basic_get(self, queue: str = "", no_ack: bool = False, **_: Any) -> amqp.Message | None:
        """The next message of a queue, or None."""
        connection = self._open()
        owner = None if no_ack else connection.register()
        taken, left, counted = self._get(queue, owner)
        if taken is None and connection.release_dead_connections():
            taken, left, counted = self._get(queue, owner)
        if taken is None:
            return None
        message = self._message(taken, counted=counted, no_ack=no_ack)
        message.delivery_info["message_count"] = left
        return message

    def _get(self, queue: str, owner: int | None) -> tuple[Delivery | None, int, bool]:
        connection = self._open()
        with self._working() as work:
            maintenance.expire(work, connection.topology)
            found = self._queue(work, queue)
            declare.restart_expiry(work, found)
            taken = take(work, found, owner)
            dispatch(work, connection.topology, found)
            return taken, length(work, found), found.counts_deliveries

    def basic_ack(self, delivery_tag: int, multiple: bool = False, **_: Any) -> None:
        """Settle a message, with ``multiple`` all up to it: they are done."""
        with self._deliveries_for(delivery_tag, multiple) as (work, ids):
            dispatch_all(work, self._topology, delete_acked(work, ids))

    def basic_reject(self, delivery_tag: int, requeue: bool, **_: Any) -> None:
        """Refuse a message: back to its place in the queue, or to the dead letters."""
        self.basic_nack(delivery_tag, multiple=False, requeue=requeue)

    def basic_nack(self, delivery_tag: int, multiple: bool = False, requeue: bool = True) -> None:
        """Refuse a message, with ``multiple`` all up to it."""
        with self._deliveries_for(delivery_tag, multiple) as (work, ids):
            topology = self._topology
            queues = requeue_messages(work, topology, ids) if requeue else dead_letter(work, topology, ids, "rejected")
            dispatch_all(work, topology, queues)

    def basic_recover(self, requeue: bool = False) -> None:  # noqa: ARG002
        """Put everything unsettled back into the queues, whatever ``requeue`` says, as RabbitMQ does."""
        with self._deliveries_for(0, multiple=True) as (work, ids):
            dispatch_all(work, self._topology, requeue_messages(work, self._topology, ids))

    @contextmanager
    def _deliveries_for(self, delivery_tag: int, multiple: bool) -> Iterator[tuple[Transaction, list[int]]]:
        with self._working() as work:
            tags = self._tags(delivery_tag, multiple)
            yield work, [self._unacked[tag] for tag in tags]
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
