"""What moves a message: into queues, on to consumers, back, and out to the dead letters."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from framework.broker import stranded
from framework.broker.deaths import came_back, dead_letter
from framework.broker.declarations import drop_queue
from framework.broker.declared import Queue
from framework.broker.handing import hand_over, next_target
from framework.broker.queues import Letter, exceeds, insert
from framework.broker.store import Transaction
from framework.broker.topology import Topology

__all__ = ["Outcome", "bury", "dispatch", "dispatch_all", "give_back", "post", "put_back", "send_stranded"]

#: Seconds; a deadline nearer than this is announced to whoever consumes, since none would look in time.
SOON = 0.6

_HEAD = "select id, abs(expires) from message where queue = ? and holder is null order by rank, id limit 1"


class Outcome(NamedTuple):
    """What became of a published message."""

    routed: bool
    refused: bool


def post(work: Transaction, topology: Topology, letter: Letter) -> Outcome:
    """Put a letter into every queue that wants it; a full queue refuses it, or drops its oldest.

    Raises:
        amqp.exceptions.NotFound: there is no such exchange.
    """
    while _drop_expired(work, topology, queues := topology.route(work, letter.exchange, letter.keys)):
        pass
    refused = [queue for queue in queues if not _place(work, topology, queue, letter, work.now)]
    for queue in refused:
        if queue.overflow == "reject-publish-dlx":
            _send_on(work, topology, queue, letter, "maxlen", work.now)
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


def _place(work: Transaction, topology: Topology, queue: Queue, letter: Letter, at: float) -> bool:
    """Hand a letter to a consumer, else let it wait; false when a full queue refuses it."""
    target = next_target(work, queue)
    if target is None and queue.limited and queue.overflow != "drop-head":
        expire_head(work, topology, queue)
        if exceeds(work, queue, 1, len(letter.body)):
            return False
    expires = insert(work, queue, letter, at, target)
    if target is None:
        _trim(work, topology, queue)
        if expires is not None and expires - work.now < SOON:
            work.woken.update(owner for (owner,) in work.execute("select distinct owner from consumer"))
    return True


def dispatch(work: Transaction, topology: Topology, queue: Queue) -> None:
    """Hand what is ready to the consumers that have room."""
    while (target := next_target(work, queue)) is not None:
        message = expire_head(work, topology, queue)
        if message is None:
            return
        hand_over(work, message, target)
    if work.value("select 1 from message where queue = ? and expires < 0 and holder is null limit 1", queue.id):
        expire_head(work, topology, queue)


def dispatch_all(work: Transaction, topology: Topology, queue_ids: Iterable[int]) -> None:
    """Do that for several queues."""
    for queue_id in queue_ids:
        queue = topology.queue_with_id(work, queue_id)
        if queue is not None:
            dispatch(work, topology, queue)


def expire_head(work: Transaction, topology: Topology, queue: Queue) -> int | None:
    """Bury messages at the head of a queue whose time has passed; the message that is its head then."""
    while True:
        message, expires = work.execute(_HEAD, (queue.id,)).fetchone() or (None, None)
        if message is None or expires is None or expires > work.now:
            return message
        bury(work, topology, [message], "expired", expires)


def bury(work: Transaction, topology: Topology, ids: Iterable[int], reason: str, at: float | None = None) -> set[int]:
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
            _send_on(work, topology, queue, _letter(*row[1:]), reason, work.now if at is None else at)
    return left


def give_back(work: Transaction, topology: Topology, ids: Iterable[int]) -> set[int]:
    """Put messages back where they were before they were handed out, and count the return; the queues they are in."""
    returned: set[int] = set()
    for message in ids:
        row = work.execute(_RETURN, (1, message)).fetchone()
        queue = row and topology.queue_with_id(work, row[0])
        if queue is not None:
            returned.add(queue.id)
            if queue.delivery_limit is not None and row[1] > queue.delivery_limit:
                bury(work, topology, [message], "delivery_limit")
            else:
                _trim(work, topology, queue)
    return returned


def put_back(work: Transaction, ids: Sequence[int]) -> set[int]:
    """Put messages back that nobody has seen; the queues they are in."""
    rows = (work.execute(_RETURN, (0, message)).fetchone() for message in ids)
    return {row[0] for row in rows if row is not None}


_RETURN = (
    "update message set holder = null, turn = null, consumer = null, returns = returns + ?"
    " where id = ? returning queue, returns"
)


def _trim(work: Transaction, topology: Topology, queue: Queue) -> None:
    if queue.limited and queue.overflow == "drop-head":
        while exceeds(work, queue, 0, 0) and (head := expire_head(work, topology, queue)) is not None:
            if exceeds(work, queue, 0, 0):
                bury(work, topology, [head], "maxlen")


def _letter(exchange: str, key: str, more_keys: str | None, properties: Any, body: bytes) -> Letter:
    keys = (key, *json.loads(more_keys)) if more_keys else (key,)
    return Letter(exchange, keys, properties, body, 0, None)


def _send_on(work: Transaction, topology: Topology, queue: Queue, letter: Letter, reason: str, at: float) -> None:
    if queue.dead_letter_exchange is not None:
        _send_dead(work, topology, queue, dead_letter(queue, letter, reason), at)


def _send_dead(work: Transaction, topology: Topology, queue: Queue, onward: Letter, at: float) -> None:
    """Send a dead letter to every queue that wants it; ``queue``, where it died, may keep what is not taken."""
    targets = _targets(work, topology, onward)
    refused = [target for target in targets if not _place(work, topology, target, onward, at)]
    if queue.keeps_dead_letters:
        for target in refused if targets else [None]:
            stranded.keep(work, queue, onward, target)


def _targets(work: Transaction, topology: Topology, onward: Letter) -> list[Queue]:
    if topology.exchange(work, onward.exchange) is None:
        return []
    return [queue for queue in topology.route(work, onward.exchange, onward.keys) if not came_back(onward, queue)]


def send_stranded(work: Transaction, topology: Topology) -> None:
    """Send on the dead letters that no queue took, to those that take them now."""
    for message, died_in, wanted_by, *written in stranded.some_due(work):
        letter = _letter(*written)
        target = topology.queue_with_id(work, wanted_by) if wanted_by else None
        if target is not None and not _place(work, topology, target, letter, work.now):
            stranded.put_off(work, message, target)
            continue
        work.execute("delete from message where id = ?", (message,))
        source = topology.queue_with_id(work, died_in)
        if target is None and source is not None:
            _send_dead(work, topology, source, letter, work.now)
