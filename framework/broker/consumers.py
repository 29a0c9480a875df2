"""Who consumes what, as all processes see it."""

from collections.abc import Iterable

from framework.broker import refusals
from framework.broker.declarations import drop_queue, touch
from framework.broker.queues import wake_all
from framework.broker.store import Transaction
from framework.broker.topology import Queue, Topology

__all__ = ["add_consumer", "mark_full", "mark_waiting", "may_take", "remove_consumers"]


def add_consumer(
    work: Transaction, queue: Queue, owner: int, tag: str, *, exclusive: bool = False, priority: int = 0
) -> int:
    """Enter a consumer; its id.

    Raises:
        amqp.exceptions.AccessRefused: the queue has an exclusive consumer, or this one wants to be it and is not alone.
    """
    others = work.value("select max(exclusive) from consumer where queue = ?", queue.id)
    if others or (exclusive and others is not None):
        raise refusals.access_refused(f"queue {queue.name!r} in vhost '/' in exclusive use")
    consumer = work.value(
        "insert into consumer (queue, owner, tag, priority, exclusive) values (?, ?, ?, ?, ?) returning id",
        queue.id,
        owner,
        tag,
        priority,
        exclusive,
    )
    touch(work, queue)
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
            touch(work, queue)
            _promote(work, queue)


def _promote(work: Transaction, queue: Queue) -> None:
    """Wake the consumer whose turn it is now."""
    if queue.single_active:
        owner = work.value("select owner from consumer where queue = ? order by id limit 1", queue.id)
        if owner is not None:
            work.woken.add(owner)


def may_take(work: Transaction, queue: Queue, consumer: int) -> bool:
    """Whether it is a consumer's turn: the first's on a queue with a single active one, else the highest priority's.

    Those of a lower priority get what the higher ones have no room for.
    """
    if queue.single_active:
        return bool(work.value("select min(id) from consumer where queue = ?", queue.id) == consumer)
    outranked = (
        "select 1 from consumer where queue = ?1 and not is_full"
        " and priority > (select priority from consumer where id = ?2) limit 1"
    )
    return work.value(outranked, queue.id, consumer) is None


def mark_full(work: Transaction, queue: Queue, consumer: int, *, is_full: bool) -> None:
    """Note whether a consumer has no room; what it leaves is for others, who hear of it."""
    work.execute("update consumer set is_full = ? where id = ?", (is_full, consumer))
    if is_full:
        wake_all(work, queue.id)


def mark_waiting(work: Transaction, ids: Iterable[int]) -> None:
    """Note that consumers found nothing and go to sleep; the next message wakes one of them."""
    work.executemany("update consumer set waiting = ? where id = ?", ((work.now, consumer) for consumer in ids))
