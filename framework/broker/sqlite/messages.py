"""Stores, takes and deletes the messages of a queue; each function runs inside the caller's transaction."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import amqp
from amqp.serialization import dumps, loads

from framework.broker.sqlite import amqp_errors
from framework.broker.sqlite.database import Transaction
from framework.broker.sqlite.entities import Queue
from framework.broker.sqlite.ready_consumer import ReadyConsumer

__all__ = [
    "Delivery",
    "Message",
    "body_from",
    "body_of",
    "decoded",
    "delete_acked",
    "encoded",
    "exceeds",
    "head",
    "insert",
    "length",
    "message_of",
    "purge",
    "take",
]


@dataclass(frozen=True, slots=True)
class Message:
    """A published message with its exchange and routing keys."""

    exchange: str
    keys: tuple[str, ...]
    properties: str | bytes
    body: bytes
    priority: int
    expiration: float | None


class Delivery(NamedTuple):
    """A message as it is delivered to a consumer; ``redeliveries`` counts how often it was requeued."""

    id: int
    exchange: str
    routing_key: str
    properties: str | bytes
    body: bytes
    redeliveries: int


def insert(
    transaction: Transaction, queue: Queue, message: Message, at: float, target: ReadyConsumer | None
) -> float | None:
    """Store a message that came at time ``at`` in a queue, dispatched to ``target`` if given; return its deadline."""
    expires = _deadline(at, queue.ttl, message.expiration)
    transaction.execute(
        "insert into message (queue, rank, exchange, routing_key, more_keys, bytes, properties, body, expires,"
        " holder, consumer, turn) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            queue.id,
            -min(message.priority, queue.max_priority),
            message.exchange,
            message.keys[0],
            json.dumps(message.keys[1:]) if len(message.keys) > 1 else None,
            len(message.body),
            message.properties,
            message.body,
            expires,
            *(target.count_delivery(transaction) if target else (None, None, None)),
        ),
    )
    return expires


def _deadline(at: float, *waits: float | None) -> float | None:
    given = [wait for wait in waits if wait is not None]
    return at + min(given) if given else None


def take(transaction: Transaction, queue: Queue, holder: int | None) -> Delivery | None:
    """Return the next message of a queue, held by ``holder`` from now on; with None it is deleted at once."""
    head = "(select id from message where queue = ? and holder is null order by rank, id limit 1)"
    wanted = "returning id, exchange, routing_key, properties, body, returns"
    if holder is None:
        row = transaction.execute(f"delete from message where id = {head} {wanted}", (queue.id,)).fetchone()  # noqa: S608
    else:
        sql = f"update message set holder = ? where id = {head} {wanted}"  # noqa: S608
        row = transaction.execute(sql, (holder, queue.id)).fetchone()
    return row and Delivery._make(row)


def head(transaction: Transaction, queue: Queue) -> Delivery | None:
    """Return the next message of a queue, which stays ready."""
    columns = "id, exchange, routing_key, properties, body, returns"
    sql = f"select {columns} from message where queue = ? and holder is null order by rank, id limit 1"  # noqa: S608
    row = transaction.execute(sql, (queue.id,)).fetchone()
    return row and Delivery._make(row)


def length(transaction: Transaction, queue: Queue) -> int:
    """Return how many messages are ready."""
    return int(transaction.value("select count(*) from message where queue = ? and holder is null", queue.id))


def exceeds(transaction: Transaction, queue: Queue, more: int, larger: int) -> bool:
    """Return whether ``more`` messages with ``larger`` bytes in all would exceed the queue's limits."""
    messages, size = transaction.execute("select messages, bytes from size where queue = ?", (queue.id,)).fetchone()
    longest, largest = queue.max_length, queue.max_bytes
    return (longest is not None and messages + more > longest) or (largest is not None and size + larger > largest)


def purge(transaction: Transaction, queue: Queue) -> int:
    """Delete the ready messages; return how many there were."""
    return transaction.execute("delete from message where queue = ? and holder is null", (queue.id,)).rowcount


def delete_acked(transaction: Transaction, ids: Sequence[int]) -> set[int]:
    """Delete acknowledged messages; return the ids of their queues."""
    done = (transaction.value("delete from message where id = ? returning queue", message_id) for message_id in ids)
    return {queue for queue in done if queue is not None}


_to_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode
_from_json = json.JSONDecoder().decode


def encoded(properties: Mapping[str, Any]) -> str | bytes:
    """Return properties as JSON, or as an AMQP table if they hold values that JSON has not (times, bytes, decimals)."""
    present = {name: value for name, value in properties.items() if value is not None}
    try:
        return _to_json(present)
    except TypeError:
        return bytes(dumps("F", (present,)))


def decoded(stored: str | bytes) -> dict[str, Any]:
    """Return the properties that ``encoded`` encoded."""
    if isinstance(stored, str):
        return dict(_from_json(stored))
    return dict(loads("F", stored, 0)[0][0])


def body_of(body: Any, properties: dict[str, Any]) -> bytes:
    """Return a body as bytes; text is encoded, and its encoding written to ``properties``, as py-amqp does."""
    if isinstance(body, str):
        properties["content_encoding"] = properties.get("content_encoding") or "utf-8"
        return body.encode(properties["content_encoding"])
    return bytes(body or b"")


def body_from(body: bytes, properties: Mapping[str, Any]) -> str | bytes:
    """Return a body as it is delivered: text if the content encoding names a charset, as py-amqp does."""
    encoding = properties.get("content_encoding")
    if encoding is None:
        return body
    try:
        return body.decode(encoding)
    except (LookupError, ValueError, TypeError):
        return body


def message_of(message: amqp.Message, exchange: str, routing_key: str) -> Message:
    """Return the message to store for py-amqp's ``message``; its ``BCC`` header adds routing keys and is removed.

    Raises:
        amqp.exceptions.PreconditionFailed: its expiration, or its ``CC`` or ``BCC`` header, is invalid.
    """
    properties = dict(message.properties)
    body = body_of(message.body, properties)
    headers = properties.get("application_headers")
    keys: tuple[str, ...] = (routing_key,)
    if headers and ("CC" in headers or "BCC" in headers):
        keys += _copies(headers, "CC") + _copies(headers, "BCC")
        properties["application_headers"] = {name: value for name, value in headers.items() if name != "BCC"}
    return Message(
        exchange,
        keys,
        encoded(properties),
        body,
        int(properties.get("priority") or 0),
        _expiration(properties.get("expiration")),
    )


def _copies(headers: Mapping[str, Any], name: str) -> tuple[str, ...]:
    copies = headers.get(name) or []
    if not isinstance(copies, (list, tuple)) or not all(isinstance(copy, str) for copy in copies):
        raise amqp_errors.invalid(f"unexpected values in header {name!r}: a list of routing keys is wanted")
    return tuple(copies)


def _expiration(milliseconds: str | None) -> float | None:
    if milliseconds is None:
        return None
    if not str(milliseconds).isdecimal():
        raise amqp_errors.invalid(f"invalid expiration {milliseconds!r}: a string of milliseconds is wanted")
    return int(milliseconds) / 1000
