"""Puts messages into queues: publishes, expires and dead-letters them.

These functions call each other: a full queue drops messages, which are dead-lettered into other
queues, which may be full too.
"""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from framework.broker.sqlite import dead_letters
from framework.broker.sqlite.database import Transaction
from framework.broker.sqlite.dead_letters import is_cycle, with_death_headers
from framework.broker.sqlite.declare import drop_queue
from framework.broker.sqlite.entities import Queue
from framework.broker.sqlite.messages import Message, exceeds, insert
from framework.broker.sqlite.ready_consumer import next_ready_consumer
from framework.broker.sqlite.routing import Topology

__all__ = ["Outcome", "dead_letter", "publish", "send_undelivered"]


#: Seconds; consumers are woken for a deadline nearer than this, since none would check in time.
SOON_SECONDS = 0.6

_HEAD = "select id, abs(expires) from message where queue = ? and holder is null order by rank, id limit 1"


class Outcome(NamedTuple):
    """Whether a queue took a published message, and whether one refused it."""

    routed: bool
    refused: bool


def publish(transaction: Transaction, topology: Topology, message: Message) -> Outcome:
    """Put a message into every queue it is routed to; a full queue refuses it, or drops its oldest.

    Raises:
        amqp.exceptions.NotFound: there is no such exchange.
    """
    while _drop_expired(transaction, topology, queues := topology.route(transaction, message.exchange, message.keys)):
        pass
    refused = [queue for queue in queues if not _enqueue(transaction, topology, queue, message, transaction.now)]
    for queue in refused:
        if queue.overflow == "reject-publish-dlx":
            _dead_letter_copy(transaction, topology, queue, message, "maxlen", transaction.now)
    return Outcome(bool(queues), bool(refused))


def _drop_expired(transaction: Transaction, topology: Topology, queues: Iterable[Queue]) -> bool:
    """Delete expired queues; return whether there were any."""
    overdue = [
        queue
        for queue in queues
        if queue.expires is not None
        and transaction.value("select 1 from queue where id = ? and expires <= ?", queue.id, transaction.now)
    ]
    for queue in overdue:
        drop_queue(transaction, topology, queue)
    return bool(overdue)


def _enqueue(transaction: Transaction, topology: Topology, queue: Queue, message: Message, at: float) -> bool:
    """Dispatch a message to a consumer, or store it as ready; return False if a full queue refuses it."""
    target = next_ready_consumer(transaction, queue)
    if target is None and queue.limited and queue.overflow != "drop-head":
        expire_head(transaction, topology, queue)
        if exceeds(transaction, queue, 1, len(message.body)):
            return False
    expires = insert(transaction, queue, message, at, target)
    if target is None:
        trim(transaction, topology, queue)
        if expires is not None and expires - transaction.now < SOON_SECONDS:
            owners = transaction.execute("select distinct owner from consumer")
            transaction.woken.update(owner for (owner,) in owners)
    return True


def expire_head(transaction: Transaction, topology: Topology, queue: Queue) -> int | None:
    """Dead-letter expired messages at the head of a queue; return the id of its new head."""
    while True:
        message_id, expires = transaction.execute(_HEAD, (queue.id,)).fetchone() or (None, None)
        if message_id is None or expires is None or expires > transaction.now:
            return message_id
        dead_letter(transaction, topology, [message_id], "expired", expires)


def dead_letter(
    transaction: Transaction, topology: Topology, ids: Iterable[int], reason: str, at: float | None = None
) -> set[int]:
    """Remove messages as ``rejected``, ``expired``, ``maxlen`` or ``delivery_limit``; return the ids of their queues.

    They go to the queue's dead-letter exchange, if it has one. ``at`` is when they expired, if that is in the past.
    """
    queue_ids: set[int] = set()
    for message_id in ids:
        row = transaction.execute(
            "delete from message where id = ? returning queue, exchange, routing_key, more_keys, properties, body",
            (message_id,),
        ).fetchone()
        queue = row and topology.queue_with_id(transaction, row[0])
        if queue is not None:
            queue_ids.add(queue.id)
            died_at = transaction.now if at is None else at
            _dead_letter_copy(transaction, topology, queue, _message_from_row(*row[1:]), reason, died_at)
    return queue_ids


def trim(transaction: Transaction, topology: Topology, queue: Queue) -> None:
    """Drop the oldest messages of a queue that exceeds its limits with ``drop-head``."""
    if queue.limited and queue.overflow == "drop-head":
        while exceeds(transaction, queue, 0, 0) and (head := expire_head(transaction, topology, queue)) is not None:
            if exceeds(transaction, queue, 0, 0):
                dead_letter(transaction, topology, [head], "maxlen")


def _message_from_row(exchange: str, key: str, more_keys: str | None, properties: Any, body: bytes) -> Message:
    keys = (key, *json.loads(more_keys)) if more_keys else (key,)
    return Message(exchange, keys, properties, body, 0, None)


def _dead_letter_copy(
    transaction: Transaction, topology: Topology, queue: Queue, message: Message, reason: str, at: float
) -> None:
    if queue.dead_letter_exchange is not None:
        _send_dead_letter(transaction, topology, queue, with_death_headers(queue, message, reason), at)


def _send_dead_letter(transaction: Transaction, topology: Topology, queue: Queue, message: Message, at: float) -> None:
    """Send a dead letter to every queue it is routed to; ``queue``, where it died, may store it if none takes it."""
    targets = _targets(transaction, topology, message)
    refused = [target for target in targets if not _enqueue(transaction, topology, target, message, at)]
    if queue.keeps_dead_letters:
        for target in refused if targets else [None]:
            dead_letters.keep_undelivered(transaction, queue, message, target)


def _targets(transaction: Transaction, topology: Topology, message: Message) -> list[Queue]:
    if topology.exchange(transaction, message.exchange) is None:
        return []
    queues = topology.route(transaction, message.exchange, message.keys)
    return [queue for queue in queues if not is_cycle(message, queue)]


def send_undelivered(transaction: Transaction, topology: Topology) -> None:
    """Send the dead letters that no queue took to the queues that take them now."""
    for message_id, died_in, wanted_by, *columns in dead_letters.due_undelivered(transaction):
        message = _message_from_row(*columns)
        target = topology.queue_with_id(transaction, wanted_by) if wanted_by else None
        if target is not None and not _enqueue(transaction, topology, target, message, transaction.now):
            dead_letters.postpone(transaction, message_id, target)
            continue
        transaction.execute("delete from message where id = ?", (message_id,))
        source = topology.queue_with_id(transaction, died_in)
        if target is None and source is not None:
            _send_dead_letter(transaction, topology, source, message, transaction.now)
