"""Messages between a queue and its consumers: dispatched to those with room, requeued from those that return them."""

from collections.abc import Iterable, Sequence

from framework.broker.sqlite.database import Transaction
from framework.broker.sqlite.entities import Queue
from framework.broker.sqlite.publish import dead_letter, expire_head, trim
from framework.broker.sqlite.ready_consumer import assign, next_ready_consumer
from framework.broker.sqlite.routing import Topology

__all__ = ["dispatch", "dispatch_all", "requeue_messages", "return_unseen"]


def dispatch(work: Transaction, topology: Topology, queue: Queue) -> None:
    """Hand what is ready to the consumers that have room."""
    while (target := next_ready_consumer(work, queue)) is not None:
        message = expire_head(work, topology, queue)
        if message is None:
            return
        assign(work, message, target)
    if work.value("select 1 from message where queue = ? and expires < 0 and holder is null limit 1", queue.id):
        expire_head(work, topology, queue)


def dispatch_all(work: Transaction, topology: Topology, queue_ids: Iterable[int]) -> None:
    """Do that for several queues."""
    for queue_id in queue_ids:
        queue = topology.queue_with_id(work, queue_id)
        if queue is not None:
            dispatch(work, topology, queue)


def requeue_messages(work: Transaction, topology: Topology, ids: Iterable[int]) -> set[int]:
    """Put messages back where they were before they were handed out, and count the return; the queues they are in."""
    returned: set[int] = set()
    for message in ids:
        row = work.execute(_RETURN, (1, message)).fetchone()
        queue = row and topology.queue_with_id(work, row[0])
        if queue is not None:
            returned.add(queue.id)
            if queue.delivery_limit is not None and row[1] > queue.delivery_limit:
                dead_letter(work, topology, [message], "delivery_limit")
            else:
                trim(work, topology, queue)
    return returned


def return_unseen(work: Transaction, ids: Sequence[int]) -> set[int]:
    """Put messages back that nobody has seen; the queues they are in."""
    rows = (work.execute(_RETURN, (0, message)).fetchone() for message in ids)
    return {row[0] for row in rows if row is not None}


_RETURN = (
    "update message set holder = null, turn = null, consumer = null, returns = returns + ?"
    " where id = ? returning queue, returns"
)
