"""Dead letters: their ``x-death`` headers, in RabbitMQ's form, and storage for those that no queue takes yet."""

from datetime import UTC, datetime
from typing import Any

from framework.broker.sqlite.database import Database, Transaction
from framework.broker.sqlite.entities import Queue
from framework.broker.sqlite.messages import Message, decoded, encoded, insert

__all__ = ["due_undelivered", "is_cycle", "keep_undelivered", "postpone", "undelivered_due", "with_death_headers"]


def with_death_headers(queue: Queue, message: Message, reason: str) -> Message:
    """Return the message for the dead-letter exchange of ``queue``, which must have one."""
    properties = decoded(message.properties)
    headers = properties["application_headers"] = dict(properties.get("application_headers") or {})
    _add_death(headers, queue, message, reason, properties.pop("expiration", None))
    keys = message.keys
    if queue.dead_letter_key is not None:
        keys = (queue.dead_letter_key,)
        headers.pop("CC", None)
    priority = int(properties.get("priority") or 0)
    return Message(str(queue.dead_letter_exchange), keys, encoded(properties), message.body, priority, None)


def is_cycle(message: Message, queue: Queue) -> bool:
    """Return whether ``queue`` has dead-lettered the message before, and no consumer has rejected it since."""
    for death in decoded(message.properties)["application_headers"]["x-death"]:
        if death.get("reason") == "rejected":
            return False
        if death.get("queue") == queue.name:
            return True
    return False


def _add_death(headers: dict[str, Any], queue: Queue, message: Message, reason: str, expiration: str | None) -> None:
    deaths = headers.get("x-death")
    deaths = deaths if isinstance(deaths, list) else []
    same = [death for death in deaths if (death.get("queue"), death.get("reason")) == (queue.name, reason)]
    others = [death for death in deaths if death not in same]
    headers["x-death"] = [
        _counted(same[0]) if same else _first_death(headers, queue, message, reason, expiration),
        *others,
    ]
    headers.setdefault("x-first-death-exchange", message.exchange)
    headers.setdefault("x-first-death-queue", queue.name)
    headers.setdefault("x-first-death-reason", reason)


def _counted(death: dict[str, Any]) -> dict[str, Any]:
    return death | {"count": death.get("count", 0) + 1}


def _first_death(
    headers: dict[str, Any], queue: Queue, message: Message, reason: str, expiration: str | None
) -> dict[str, Any]:
    copies = headers.get("CC")
    death = {
        "count": 1,
        "exchange": message.exchange,
        "queue": queue.name,
        "reason": reason,
        "routing-keys": [message.keys[0], *(copies if isinstance(copies, list) else [])],
        "time": datetime.now(UTC).replace(microsecond=0),
    }
    return death if expiration is None else death | {"original-expiration": expiration}


#: Seconds until an undelivered dead letter is sent again.
RETRY_DELAY_SECONDS = 2

#: Undelivered dead letters that are sent per transaction.
BATCH = 100

#: Their holder: no connection has that number, so they are neither requeued nor dispatched.
NO_OWNER = -1

_DUE = "from message where holder = ? and consumer is null and turn <= ?"


def keep_undelivered(transaction: Transaction, queue: Queue, message: Message, wanted_by: Queue | None) -> None:
    """Store a dead letter in the queue it comes from; ``wanted_by`` is the full queue that it is for, if known."""
    insert(transaction, queue, message, transaction.now, None)
    postpone(transaction, int(transaction.value("select last_insert_rowid()")), wanted_by)


def postpone(transaction: Transaction, message_id: int, wanted_by: Queue | None) -> None:
    """Send a stored dead letter again after `RETRY_DELAY_SECONDS`."""
    # Such a message has no redeliveries: the column holds the queue that it is for, 0 if that is not known.
    sql = "update message set holder = ?, turn = ?, returns = ? where id = ?"
    transaction.execute(
        sql, (NO_OWNER, int(transaction.now) + RETRY_DELAY_SECONDS, wanted_by.id if wanted_by else 0, message_id)
    )


def undelivered_due(database: Database, now: float) -> bool:
    """Return whether stored dead letters are due to be sent."""
    return bool(database.read(f"select 1 {_DUE} limit 1", NO_OWNER, now))


def due_undelivered(transaction: Transaction) -> list[Any]:
    """Return some stored dead letters that are due, the oldest first.

    Each is its id, the ids of the queue it comes from and of the one it is for, and then exchange, key, more keys,
    properties and body.
    """
    columns = "select id, queue, returns, exchange, routing_key, more_keys, properties, body"
    return transaction.execute(
        f"{columns} {_DUE} order by turn, id limit ?", (NO_OWNER, transaction.now, BATCH)
    ).fetchall()
