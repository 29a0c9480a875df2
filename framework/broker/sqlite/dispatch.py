"""Dispatches messages to the consumers of a queue, and requeues the messages that consumers return."""

from collections.abc import Iterable, Sequence

from framework.broker.sqlite.database import Transaction
from framework.broker.sqlite.entities import Queue
from framework.broker.sqlite.publish import dead_letter, expire_head, trim
from framework.broker.sqlite.ready_consumer import assign, next_ready_consumer
from framework.broker.sqlite.routing import Topology

__all__ = ["dispatch", "dispatch_all", "requeue_messages", "requeue_undelivered"]


def dispatch(transaction: Transaction, topology: Topology, queue: Queue) -> None:
    """Dispatch the ready messages of a queue to the consumers below their prefetch counts."""
    while (target := next_ready_consumer(transaction, queue)) is not None:
        message_id = expire_head(transaction, topology, queue)
        if message_id is None:
            return
        assign(transaction, message_id, target)
    if transaction.value("select 1 from message where queue = ? and expires < 0 and holder is null limit 1", queue.id):
        expire_head(transaction, topology, queue)


def dispatch_all(transaction: Transaction, topology: Topology, queue_ids: Iterable[int]) -> None:
    """Dispatch the ready messages of several queues."""
    for queue_id in queue_ids:
        queue = topology.queue_with_id(transaction, queue_id)
        if queue is not None:
            dispatch(transaction, topology, queue)


def requeue_messages(transaction: Transaction, topology: Topology, ids: Iterable[int]) -> set[int]:
    """Requeue messages in their places and count the redelivery; return the ids of their queues."""
    returned: set[int] = set()
    for message_id in ids:
        row = transaction.execute(_REQUEUE, (1, message_id)).fetchone()
        queue = row and topology.queue_with_id(transaction, row[0])
        if queue is not None:
            returned.add(queue.id)
            if queue.delivery_limit is not None and row[1] > queue.delivery_limit:
                dead_letter(transaction, topology, [message_id], "delivery_limit")
            else:
                trim(transaction, topology, queue)
    return returned


def requeue_undelivered(transaction: Transaction, ids: Sequence[int]) -> set[int]:
    """Requeue messages that were not delivered, uncounted; return the ids of their queues."""
    rows = (transaction.execute(_REQUEUE, (0, message_id)).fetchone() for message_id in ids)
    return {row[0] for row in rows if row is not None}


_REQUEUE = (
    "update message set holder = null, turn = null, consumer = null, returns = returns + ?"
    " where id = ? returning queue, returns"
)
