"""Adds and removes the channels and consumers that all processes see."""

from collections.abc import Iterable

from framework.broker.sqlite import amqp_errors
from framework.broker.sqlite.database import Transaction
from framework.broker.sqlite.declare import drop_queue, restart_expiry
from framework.broker.sqlite.dispatch import dispatch
from framework.broker.sqlite.entities import Queue
from framework.broker.sqlite.routing import Topology

__all__ = ["add_channel", "add_consumer", "remove_consumers"]


def add_channel(transaction: Transaction, owner: int) -> int:
    """Add a channel; return its id."""
    return int(transaction.value("insert into channel (owner) values (?) returning id", owner))


def add_consumer(
    transaction: Transaction,
    queue: Queue,
    owner: int,
    channel: int,
    *,
    exclusive: bool = False,
    priority: int = 0,
    prefetch: int = 0,
    no_ack: bool = False,
) -> int:
    """Add a consumer; return its id.

    Raises:
        amqp.exceptions.AccessRefused: the queue has an exclusive consumer, or this one is exclusive and not the first.
    """
    others = transaction.value("select max(exclusive) from consumer where queue = ?", queue.id)
    if others or (exclusive and others is not None):
        raise amqp_errors.access_refused(f"queue {queue.name!r} in vhost '/' in exclusive use")
    consumer = transaction.value(
        "insert into consumer (queue, owner, channel, priority, exclusive, prefetch, no_ack)"
        " values (?, ?, ?, ?, ?, ?, ?) returning id",
        queue.id,
        owner,
        channel,
        priority,
        exclusive,
        0 if no_ack else prefetch,
        no_ack,
    )
    restart_expiry(transaction, queue)
    return int(consumer)


def remove_consumers(transaction: Transaction, topology: Topology, ids: Iterable[int]) -> None:
    """Remove consumers, and the auto-delete queues that lose their last one."""
    for consumer in ids:
        queue_id = transaction.value("delete from consumer where id = ? returning queue", consumer)
        queue = topology.queue_with_id(transaction, queue_id) if queue_id is not None else None
        if queue is None:
            continue
        if queue.auto_delete and not transaction.value("select 1 from consumer where queue = ?", queue.id):
            drop_queue(transaction, topology, queue)
        else:
            restart_expiry(transaction, queue)
            dispatch(transaction, topology, queue)
