"""Into queues: routing, length limits, and dead letters with their history."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from framework.broker.properties import decoded, encoded
from framework.broker.queues import Letter, insert, length_up_to, size, wake_many
from framework.broker.store import Transaction
from framework.broker.topology import Queue, Topology

__all__ = ["Outcome", "bury", "expire_head", "expire_late", "give_back", "post"]


class Outcome(NamedTuple):
    """What became of a published message."""

    routed: bool
    refused: bool


def post(work: Transaction, topology: Topology, letter: Letter) -> Outcome:
    """Put a letter into every queue that wants it; a full queue refuses it, or drops its oldest.

    Raises:
        amqp.exceptions.NotFound: there is no such exchange.
    """
    queues = topology.route(work, letter.exchange, letter.keys)
    refused = False
    for queue in queues:
        if queue.limited and queue.overflow != "drop-head" and _exceeds(work, queue, 1, len(letter.body)):
            refused = True
            if queue.overflow == "reject-publish-dlx":
                _send_on(work, topology, queue, letter, "maxlen", work.now)
        else:
            insert(work, queue, letter, work.now)
            _trim(work, topology, queue)
    return Outcome(bool(queues), refused)


def bury(work: Transaction, topology: Topology, ids: Iterable[int], reason: str, at: float | None = None) -> None:
    """End messages as ``rejected``, ``expired``, ``maxlen`` or ``delivery_limit``: to the dead letters, if any.

    ``at`` is when that was, where it was not noticed in time.
    """
    for message in ids:
        row = work.execute(
            "delete from message where id = ? returning queue, exchange, routing_key, more_keys,"
            " properties, body, rank",
            (message,),
        ).fetchone()
        queue = row and topology.queue_with_id(work, row[0])
        if queue is not None:
            _send_on(work, topology, queue, _letter(row), reason, work.now if at is None else at)


def give_back(work: Transaction, topology: Topology, ids: Sequence[int]) -> None:
    """Put messages back where they were before they were taken, and count the return."""
    returned: list[int] = []
    for message in ids:
        row = work.execute(
            "update message set holder = null, returns = returns + 1 where id = ? returning queue, returns", (message,)
        ).fetchone()
        queue = row and topology.queue_with_id(work, row[0])
        if queue is None:
            continue
        if queue.delivery_limit is not None and row[1] > queue.delivery_limit:
            bury(work, topology, [message], "delivery_limit")
        else:
            returned.append(queue.id)
            _trim(work, topology, queue)
    wake_many(work, returned)


def expire_head(work: Transaction, topology: Topology, queue: Queue) -> None:
    """Bury messages at the head of a queue whose time has passed."""
    head = "select id, abs(expires) from message where queue = ? and holder is null order by rank, id limit 1"
    while True:
        row = work.execute(head, (queue.id,)).fetchone()
        if row is None or row[1] is None or row[1] > work.now:
            return
        bury(work, topology, [row[0]], "expired", row[1])


def expire_late(work: Transaction, topology: Topology, queue: Queue) -> None:
    """Bury late messages that have come to the head of a queue."""
    if work.value("select 1 from message where queue = ? and expires < 0 and holder is null limit 1", queue.id):
        expire_head(work, topology, queue)


def _trim(work: Transaction, topology: Topology, queue: Queue) -> None:
    if queue.limited and queue.overflow == "drop-head":
        head = "select id from message where queue = ? and holder is null order by rank, id limit 1"
        while _exceeds(work, queue, 0, 0):
            bury(work, topology, [work.value(head, queue.id)], "maxlen")


def _exceeds(work: Transaction, queue: Queue, more: int, larger: int) -> bool:
    """Whether the queue with ``more`` messages of ``larger`` bytes would be longer than its limits."""
    longest, largest = queue.max_length, queue.max_bytes
    if longest is not None and length_up_to(work, queue, longest + 1) + more > longest:
        return True
    return largest is not None and size(work, queue) + larger > largest


def _letter(row: Sequence[Any]) -> Letter:
    _, exchange, key, more_keys, properties, body, rank = row
    keys = (key, *json.loads(more_keys)) if more_keys else (key,)
    return Letter(exchange, keys, properties, body, -rank, None)


def _send_on(work: Transaction, topology: Topology, queue: Queue, letter: Letter, reason: str, at: float) -> None:
    exchange = queue.dead_letter_exchange
    if exchange is None or topology.exchange(work, exchange) is None:
        return
    properties = decoded(letter.properties)
    headers = properties["application_headers"] = dict(properties.get("application_headers") or {})
    _record_death(headers, queue, letter, reason, properties.pop("expiration", None))
    keys = letter.keys
    if queue.dead_letter_key is not None:
        keys = (queue.dead_letter_key,)
        headers.pop("CC", None)
    onward = Letter(exchange, keys, encoded(properties), letter.body, _priority(properties), None)
    for target in topology.route(work, exchange, keys):
        if reason == "rejected" or not _is_cycle(target.name, headers["x-death"]):
            # Over the limit or not: there is no publisher left who could be told.
            insert(work, target, onward, at)
            _trim(work, topology, target)


def _record_death(headers: dict[str, Any], queue: Queue, letter: Letter, reason: str, expiration: str | None) -> None:
    deaths = headers.get("x-death")
    deaths = deaths if isinstance(deaths, list) else []
    same = [death for death in deaths if (death.get("queue"), death.get("reason")) == (queue.name, reason)]
    others = [death for death in deaths if death not in same]
    headers["x-death"] = [_again(same[0]) if same else _first(headers, queue, letter, reason, expiration), *others]
    headers.setdefault("x-first-death-exchange", letter.exchange)
    headers.setdefault("x-first-death-queue", queue.name)
    headers.setdefault("x-first-death-reason", reason)


def _again(death: dict[str, Any]) -> dict[str, Any]:
    return death | {"count": death.get("count", 0) + 1}


def _first(
    headers: dict[str, Any], queue: Queue, letter: Letter, reason: str, expiration: str | None
) -> dict[str, Any]:
    copies = headers.get("CC")
    death = {
        "count": 1,
        "exchange": letter.exchange,
        "queue": queue.name,
        "reason": reason,
        "routing-keys": [letter.keys[0], *(copies if isinstance(copies, list) else [])],
        "time": datetime.now(UTC).replace(microsecond=0),
    }
    return death if expiration is None else death | {"original-expiration": expiration}


def _is_cycle(target: str, deaths: list[dict[str, Any]]) -> bool:
    """Whether a message is back where it died, with nobody's rejection in between."""
    for death in deaths:
        if death.get("reason") == "rejected":
            return False
        if death.get("queue") == target:
            return True
    return False


def _priority(properties: dict[str, Any]) -> int:
    return int(properties.get("priority") or 0)
