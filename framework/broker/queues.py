"""What lies in a queue; each function is part of its caller's transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from json import dumps
from typing import NamedTuple

from framework.broker.declared import Queue
from framework.broker.handing import Target
from framework.broker.store import Transaction

__all__ = ["Letter", "Taken", "exceeds", "insert", "length", "purge", "settle", "take"]


@dataclass(frozen=True, slots=True)
class Letter:
    """A message as it is published: where to, and what."""

    exchange: str
    keys: tuple[str, ...]
    properties: str | bytes
    body: bytes
    priority: int
    expiration: float | None


class Taken(NamedTuple):
    """A message as it is handed to a consumer."""

    id: int
    exchange: str
    routing_key: str
    properties: str | bytes
    body: bytes
    returns: int


def insert(work: Transaction, queue: Queue, letter: Letter, at: float, target: Target | None) -> float | None:
    """Put a letter that came at time ``at`` into a queue, or into the hands of a consumer; when it expires."""
    expires = _deadline(at, queue.ttl, letter.expiration)
    work.execute(
        "insert into message (queue, rank, exchange, routing_key, more_keys, properties, body, expires,"
        " holder, consumer, turn) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            queue.id,
            -min(letter.priority, queue.max_priority),
            letter.exchange,
            letter.keys[0],
            dumps(letter.keys[1:]) if len(letter.keys) > 1 else None,
            letter.properties,
            letter.body,
            expires,
            *(target.hand(work) if target else (None, None, None)),
        ),
    )
    return expires


def _deadline(at: float, *waits: float | None) -> float | None:
    given = [wait for wait in waits if wait is not None]
    return at + min(given) if given else None


def take(work: Transaction, queue: Queue, holder: int | None) -> Taken | None:
    """The next message of a queue, now held by ``holder``; with None it is gone at once."""
    head = "(select id from message where queue = ?1 and holder is null order by rank, id limit 1)"
    wanted = "returning id, exchange, routing_key, properties, body, returns"
    if holder is None:
        row = work.execute(f"delete from message where id = {head} {wanted}", (queue.id,)).fetchone()  # noqa: S608
    else:
        sql = f"update message set holder = ?2 where id = {head} {wanted}"  # noqa: S608
        row = work.execute(sql, (queue.id, holder)).fetchone()
    return row and Taken._make(row)


def length(work: Transaction, queue: Queue) -> int:
    """How many messages are ready."""
    return int(work.value("select count(*) from message where queue = ? and holder is null", queue.id))


def exceeds(work: Transaction, queue: Queue, more: int, larger: int) -> bool:
    """Whether a queue with ``more`` messages of ``larger`` bytes would be longer than its limits."""
    longest, largest = queue.max_length, queue.max_bytes
    if longest is not None:
        ready = "select count(*) from (select 1 from message where queue = ? and holder is null limit ?)"
        if int(work.value(ready, queue.id, longest + 1)) + more > longest:
            return True
    if largest is None:
        return False
    size = "select coalesce(sum(length(body)), 0) from message where queue = ? and holder is null"
    return int(work.value(size, queue.id)) + larger > largest


def purge(work: Transaction, queue: Queue) -> int:
    """Delete what is ready; how many that were."""
    return work.execute("delete from message where queue = ? and holder is null", (queue.id,)).rowcount


def settle(work: Transaction, ids: Sequence[int]) -> set[int]:
    """Delete messages that are done; the queues they were from."""
    done = (work.value("delete from message where id = ? returning queue", message) for message in ids)
    return {queue for queue in done if queue is not None}
