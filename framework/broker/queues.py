"""What lies in a queue: put, take, settle, give back; each function is part of its caller's transaction."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from json import dumps
from typing import NamedTuple

from framework.broker.store import Transaction
from framework.broker.topology import Queue

__all__ = [
    "READY",
    "Letter",
    "Taken",
    "insert",
    "length",
    "length_up_to",
    "purge",
    "put_back",
    "settle",
    "size",
    "take",
    "wake_all",
    "wake_many",
]

#: A query that finds a row when the queue of that name has something to take.
READY = "select 1 from message where queue = (select id from queue where name = ?) and holder is null limit 1"

_NEXT = "(select id from message where queue = ? and holder is null order by rank, id limit ?)"
_WANTED = "id, rank, exchange, routing_key, properties, body, returns"
_TAKE = f"update message set holder = ? where id in {_NEXT} returning {_WANTED}"  # noqa: S608
_TAKE_AWAY = f"delete from message where id in {_NEXT} returning {_WANTED}"  # noqa: S608

#: Seconds of waiting below which a deadline is announced to whoever listens, since none would look in time.
SOON = 0.6


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
    rank: int
    exchange: str
    routing_key: str
    properties: str | bytes
    body: bytes
    returns: int
    counted: bool


def insert(work: Transaction, queue: Queue, letter: Letter, at: float) -> None:
    """Put a letter that arrived ``at`` a time at the end of a queue, and wake whoever waits for it."""
    expires = _deadline(at, queue.ttl, letter.expiration)
    work.execute(
        "insert into message (queue, rank, exchange, routing_key, more_keys, properties, body, expires)"
        " values (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            queue.id,
            -min(letter.priority, queue.max_priority),
            letter.exchange,
            letter.keys[0],
            dumps(letter.keys[1:]) if len(letter.keys) > 1 else None,
            letter.properties,
            letter.body,
            expires,
        ),
    )
    _wake(work, queue.id)
    if expires is not None and expires - work.now < SOON:
        _wake_any(work)


def _deadline(at: float, *waits: float | None) -> float | None:
    given = [wait for wait in waits if wait is not None]
    return at + min(given) if given else None


def take(work: Transaction, queue: Queue, count: int, holder: int | None) -> list[Taken]:
    """The next messages of a queue in their order, now held by ``holder``; with None they are gone at once."""
    if holder is None:
        rows = work.execute(_TAKE_AWAY, (queue.id, count))
    else:
        rows = work.execute(_TAKE, (holder, queue.id, count))
    counted = queue.counts_deliveries
    return sorted((Taken._make((*row, counted)) for row in rows), key=lambda taken: (taken.rank, taken.id))


def length(work: Transaction, queue: Queue) -> int:
    """How many messages are ready."""
    return int(work.value("select count(*) from message where queue = ? and holder is null", queue.id))


def length_up_to(work: Transaction, queue: Queue, enough: int) -> int:
    """How many messages are ready, counted no further than ``enough``."""
    sql = "select count(*) from (select 1 from message where queue = ? and holder is null limit ?)"
    return int(work.value(sql, queue.id, enough))


def size(work: Transaction, queue: Queue) -> int:
    """Bytes of all ready bodies."""
    sql = "select coalesce(sum(length(body)), 0) from message where queue = ? and holder is null"
    return int(work.value(sql, queue.id))


def purge(work: Transaction, queue: Queue) -> int:
    """Delete what is ready; how many that were."""
    return work.execute("delete from message where queue = ? and holder is null", (queue.id,)).rowcount


def settle(work: Transaction, ids: Sequence[int]) -> None:
    """Delete messages that are done."""
    work.executemany("delete from message where id = ?", ((message,) for message in ids))


def put_back(work: Transaction, ids: Sequence[int]) -> None:
    """Put messages back that nobody has seen."""
    for message in ids:
        queue_id = work.value("update message set holder = null where id = ? returning queue", message)
        if queue_id is not None:
            _wake(work, queue_id)


def _wake(work: Transaction, queue_id: int) -> bool:
    """Wake the consumer that has waited longest for this queue; false when none waits."""
    owner = work.value(
        "update consumer set waiting = null where id = (select id from consumer where queue = ?"
        " and waiting is not null order by priority desc, waiting limit 1) returning owner",
        queue_id,
    )
    if owner is not None:
        work.woken.add(owner)
    return owner is not None


def wake_many(work: Transaction, queue_ids: Iterable[int]) -> None:
    """Wake a consumer for each message that came back, while any waits."""
    exhausted: set[int] = set()
    for queue_id in queue_ids:
        if queue_id not in exhausted and not _wake(work, queue_id):
            exhausted.add(queue_id)


def wake_all(work: Transaction, queue_id: int) -> None:
    """Wake every consumer that waits for this queue, if there is anything to take."""
    if work.value("select 1 from message where queue = ? and holder is null limit 1", queue_id):
        while _wake(work, queue_id):
            pass


def _wake_any(work: Transaction) -> None:
    """Wake somebody, whoever it is, to look at a deadline."""
    owner = work.value("select owner from consumer where waiting is not null limit 1")
    if owner is not None:
        work.woken.add(owner)
