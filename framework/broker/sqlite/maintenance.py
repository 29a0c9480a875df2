"""What time and death do to a broker: deadlines pass, connections vanish. Whoever looks next sees to it."""

from framework.broker.sqlite.consumers import remove_consumers
from framework.broker.sqlite.database import Database, Transaction
from framework.broker.sqlite.declare import drop_queue
from framework.broker.sqlite.dispatch import dispatch_all, requeue_messages
from framework.broker.sqlite.liveness import locks_of
from framework.broker.sqlite.publish import expire_head, send_undelivered
from framework.broker.sqlite.routing import Topology

__all__ = ["dead_connections", "expire", "next_deadline", "release_connection"]


#: How many deadlines are looked up at once.
BATCH = 500

NEXT_DEADLINE = """select min(at) from (
    select min(expires) as at from message where expires > 0 and holder is null
    union all select min(expires) from queue where expires is not null)"""


def next_deadline(store: Database) -> float | None:
    """When the next message or queue expires, in seconds since the epoch."""
    deadline: float | None = store.read(NEXT_DEADLINE)[0][0]
    return deadline


def expire(work: Transaction, topology: Topology) -> None:
    """Send expired messages on to the dead letters, and those that no queue took; delete unused queues."""
    while (deadline := work.value(NEXT_DEADLINE)) is not None and deadline <= work.now:
        _expire_some(work, topology)
    send_undelivered(work, topology)


def _expire_some(work: Transaction, topology: Topology) -> None:
    for (name,) in work.execute("select name from queue where expires <= ?", (work.now,)).fetchall():
        queue = topology.queue(work, name)
        if queue is not None:
            drop_queue(work, topology, queue)
    expired = "select id, queue from message where expires > 0 and expires <= ? and holder is null limit ?"
    for message, queue_id in work.execute(expired, (work.now, BATCH)).fetchall():
        queue = topology.queue_with_id(work, queue_id)
        if queue is not None:
            expire_head(work, topology, queue)
        work.execute("update message set expires = -expires where id = ? and expires > 0", (message,))


def dead_connections(store: Database) -> list[int]:
    """The connections whose process is gone."""
    locks = locks_of(store.path)
    return [owner for (owner,) in store.read("select id from owner") if not locks.alive(owner)]


def release_connection(work: Transaction, topology: Topology, owner: int) -> None:
    """End a connection: its own queues go, its consumers go, and what it held goes back to its place."""
    for (name,) in work.execute("select name from queue where owner = ?", (owner,)).fetchall():
        queue = topology.queue(work, name)
        if queue is not None:
            drop_queue(work, topology, queue)
    work.execute("update channel set active = 0 where owner = ?", (owner,))
    held = work.execute("select id from message where holder = ? order by id", (owner,)).fetchall()
    returned = requeue_messages(work, topology, [message for (message,) in held])
    consumers = work.execute("select id from consumer where owner = ?", (owner,)).fetchall()
    remove_consumers(work, topology, [consumer for (consumer,) in consumers])
    dispatch_all(work, topology, returned)
    work.execute("delete from channel where owner = ?", (owner,))
    work.execute("delete from owner where id = ?", (owner,))
