"""Messages into queues: published, expired, dead-lettered.

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


#: Seconds; a deadline nearer than this is announced to whoever consumes, since none would look in time.
SOON_SECONDS = 0.6

_HEAD = "select id, abs(expires) from message where queue = ? and holder is null order by rank, id limit 1"


class Outcome(NamedTuple):
    """What became of a published message."""

    routed: bool
    refused: bool


def publish(work: Transaction, topology: Topology, letter: Message) -> Outcome:
    """Put a letter into every queue that wants it; a full queue refuses it, or drops its oldest.

    Raises:
        amqp.exceptions.NotFound: there is no such exchange.
    """
    while _drop_expired(work, topology, queues := topology.route(work, letter.exchange, letter.keys)):
        pass
    refused = [queue for queue in queues if not _enqueue(work, topology, queue, letter, work.now)]
    for queue in refused:
        if queue.overflow == "reject-publish-dlx":
            _dead_letter_copy(work, topology, queue, letter, "maxlen", work.now)
    return Outcome(bool(queues), bool(refused))


def _drop_expired(work: Transaction, topology: Topology, queues: Iterable[Queue]) -> bool:
    """Delete queues whose time has passed unnoticed; true when there was one."""
    overdue = [
        queue
        for queue in queues
        if queue.expires is not None
        and work.value("select 1 from queue where id = ? and expires <= ?", queue.id, work.now)
    ]
    for queue in overdue:
        drop_queue(work, topology, queue)
    return bool(overdue)


def _enqueue(work: Transaction, topology: Topology, queue: Queue, letter: Message, at: float) -> bool:
    """Hand a letter to a consumer, else let it wait; false when a full queue refuses it."""
    target = next_ready_consumer(work, queue)
    if target is None and queue.limited and queue.overflow != "drop-head":
        expire_head(work, topology, queue)
        if exceeds(work, queue, 1, len(letter.body)):
            return False
    expires = insert(work, queue, letter, at, target)
    if target is None:
        trim(work, topology, queue)
        if expires is not None and expires - work.now < SOON_SECONDS:
            work.woken.update(owner for (owner,) in work.execute("select distinct owner from consumer"))
    return True


def expire_head(work: Transaction, topology: Topology, queue: Queue) -> int | None:
    """Bury messages at the head of a queue whose time has passed; the message that is its head then."""
    while True:
        message, expires = work.execute(_HEAD, (queue.id,)).fetchone() or (None, None)
        if message is None or expires is None or expires > work.now:
            return message
        dead_letter(work, topology, [message], "expired", expires)


def dead_letter(
    work: Transaction, topology: Topology, ids: Iterable[int], reason: str, at: float | None = None
) -> set[int]:
    """End messages as ``rejected``, ``expired``, ``maxlen`` or ``delivery_limit``; the queues they were in.

    They go to the dead letters, if any. ``at`` is when they ended, where that was not noticed in time.
    """
    left: set[int] = set()
    for message in ids:
        row = work.execute(
            "delete from message where id = ? returning queue, exchange, routing_key, more_keys, properties, body",
            (message,),
        ).fetchone()
        queue = row and topology.queue_with_id(work, row[0])
        if queue is not None:
            left.add(queue.id)
            _dead_letter_copy(
                work, topology, queue, _message_from_row(*row[1:]), reason, work.now if at is None else at
            )
    return left


def trim(work: Transaction, topology: Topology, queue: Queue) -> None:
    if queue.limited and queue.overflow == "drop-head":
        while exceeds(work, queue, 0, 0) and (head := expire_head(work, topology, queue)) is not None:
            if exceeds(work, queue, 0, 0):
                dead_letter(work, topology, [head], "maxlen")


def _message_from_row(exchange: str, key: str, more_keys: str | None, properties: Any, body: bytes) -> Message:
    keys = (key, *json.loads(more_keys)) if more_keys else (key,)
    return Message(exchange, keys, properties, body, 0, None)


def _dead_letter_copy(
    work: Transaction, topology: Topology, queue: Queue, letter: Message, reason: str, at: float
) -> None:
    if queue.dead_letter_exchange is not None:
        _send_dead_letter(work, topology, queue, with_death_headers(queue, letter, reason), at)


def _send_dead_letter(work: Transaction, topology: Topology, queue: Queue, onward: Message, at: float) -> None:
    """Send a dead letter to every queue that wants it; ``queue``, where it died, may keep what is not taken."""
    targets = _targets(work, topology, onward)
    refused = [target for target in targets if not _enqueue(work, topology, target, onward, at)]
    if queue.keeps_dead_letters:
        for target in refused if targets else [None]:
            dead_letters.keep_undelivered(work, queue, onward, target)


def _targets(work: Transaction, topology: Topology, onward: Message) -> list[Queue]:
    if topology.exchange(work, onward.exchange) is None:
        return []
    return [queue for queue in topology.route(work, onward.exchange, onward.keys) if not is_cycle(onward, queue)]


def send_undelivered(work: Transaction, topology: Topology) -> None:
    """Send on the dead letters that no queue took, to those that take them now."""
    for message, died_in, wanted_by, *written in dead_letters.due_undelivered(work):
        letter = _message_from_row(*written)
        target = topology.queue_with_id(work, wanted_by) if wanted_by else None
        if target is not None and not _enqueue(work, topology, target, letter, work.now):
            dead_letters.postpone(work, message, target)
            continue
        work.execute("delete from message where id = ?", (message,))
        source = topology.queue_with_id(work, died_in)
        if target is None and source is not None:
            _send_dead_letter(work, topology, source, letter, work.now)
