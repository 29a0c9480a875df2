"""Expires messages and queues, and releases the connections of dead processes; every connection runs this."""

from framework.broker.sqlite.consumers import remove_consumers
from framework.broker.sqlite.database import Database, Transaction
from framework.broker.sqlite.declare import drop_queue
from framework.broker.sqlite.dispatch import dispatch_all, requeue_messages
from framework.broker.sqlite.liveness import locks_of
from framework.broker.sqlite.publish import expire_head, send_undelivered
from framework.broker.sqlite.routing import Topology

__all__ = ["dead_connections", "expire", "next_deadline", "release_connection"]


#: Messages that are expired per query.
BATCH = 500

NEXT_DEADLINE = """select min(at) from (
    select min(expires) as at from message where expires > 0 and holder is null
    union all select min(expires) from queue where expires is not null)"""


def next_deadline(database: Database) -> float | None:
    """Return when the next message or queue expires, in seconds since the epoch."""
    deadline: float | None = database.read(NEXT_DEADLINE)[0][0]
    return deadline


def expire(transaction: Transaction, topology: Topology) -> None:
    """Dead-letter expired messages, delete expired queues, and send undelivered dead letters."""
    while (deadline := transaction.value(NEXT_DEADLINE)) is not None and deadline <= transaction.now:
        _expire_some(transaction, topology)
    send_undelivered(transaction, topology)


def _expire_some(transaction: Transaction, topology: Topology) -> None:
    for (name,) in transaction.execute("select name from queue where expires <= ?", (transaction.now,)).fetchall():
        queue = topology.queue(transaction, name)
        if queue is not None:
            drop_queue(transaction, topology, queue)
    expired = "select id, queue from message where expires > 0 and expires <= ? and holder is null limit ?"
    for message_id, queue_id in transaction.execute(expired, (transaction.now, BATCH)).fetchall():
        queue = topology.queue_with_id(transaction, queue_id)
        if queue is not None:
            expire_head(transaction, topology, queue)
        transaction.execute("update message set expires = -expires where id = ? and expires > 0", (message_id,))


def dead_connections(database: Database) -> list[int]:
    """Return the connections whose process is dead."""
    locks = locks_of(database.path)
    return [owner for (owner,) in database.read("select id from owner") if not locks.alive(owner)]


def release_connection(transaction: Transaction, topology: Topology, owner: int) -> None:
    """Delete a connection, its exclusive queues and its consumers; requeue the messages it held."""
    for (name,) in transaction.execute("select name from queue where owner = ?", (owner,)).fetchall():
        queue = topology.queue(transaction, name)
        if queue is not None:
            drop_queue(transaction, topology, queue)
    transaction.execute("update channel set active = 0 where owner = ?", (owner,))
    held = transaction.execute("select id from message where holder = ? order by id", (owner,)).fetchall()
    returned = requeue_messages(transaction, topology, [message_id for (message_id,) in held])
    consumers = transaction.execute("select id from consumer where owner = ?", (owner,)).fetchall()
    remove_consumers(transaction, topology, [consumer for (consumer,) in consumers])
    dispatch_all(transaction, topology, returned)
    transaction.execute("delete from channel where owner = ?", (owner,))
    transaction.execute("delete from owner where id = ?", (owner,))
