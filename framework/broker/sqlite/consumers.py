"""Channels and consumers as all processes see them."""

from collections.abc import Iterable

from framework.broker.sqlite import amqp_errors
from framework.broker.sqlite.database import Transaction
from framework.broker.sqlite.declare import drop_queue, restart_expiry
from framework.broker.sqlite.dispatch import dispatch
from framework.broker.sqlite.entities import Queue
from framework.broker.sqlite.routing import Topology

__all__ = ["add_channel", "add_consumer", "remove_consumers"]


def add_channel(work: Transaction, owner: int) -> int:
    """Enter a channel; its id."""
    return int(work.value("insert into channel (owner) values (?) returning id", owner))


def add_consumer(
    work: Transaction,
    queue: Queue,
    owner: int,
    channel: int,
    *,
    exclusive: bool = False,
    priority: int = 0,
    prefetch: int = 0,
    no_ack: bool = False,
) -> int:
    """Enter a consumer; its id.

    Raises:
        amqp.exceptions.AccessRefused: the queue has an exclusive consumer, or this one wants to be it and is not alone.
    """
    others = work.value("select max(exclusive) from consumer where queue = ?", queue.id)
    if others or (exclusive and others is not None):
        raise amqp_errors.access_refused(f"queue {queue.name!r} in vhost '/' in exclusive use")
    consumer = work.value(
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
    restart_expiry(work, queue)
    return int(consumer)


def remove_consumers(work: Transaction, topology: Topology, ids: Iterable[int]) -> None:
    """Take consumers away, with the queues that live only as long as they do."""
    for consumer in ids:
        queue_id = work.value("delete from consumer where id = ? returning queue", consumer)
        queue = topology.queue_with_id(work, queue_id) if queue_id is not None else None
        if queue is None:
            continue
        if queue.auto_delete and not work.value("select 1 from consumer where queue = ?", queue.id):
            drop_queue(work, topology, queue)
        else:
            restart_expiry(work, queue)
            dispatch(work, topology, queue)
