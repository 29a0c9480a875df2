"""Dead letters: their ``x-death`` headers, written as RabbitMQ writes them, and those that no queue takes yet."""

from datetime import UTC, datetime
from typing import Any

from framework.broker.sqlite.database import Database, Transaction
from framework.broker.sqlite.entities import Queue
from framework.broker.sqlite.messages import Message, decoded, encoded, insert

__all__ = ["due_undelivered", "is_cycle", "keep_undelivered", "postpone", "undelivered_due", "with_death_headers"]


def with_death_headers(queue: Queue, message: Message, reason: str) -> Message:
    """The message that goes to the dead-letter exchange of ``queue``, which must have one."""
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
    """Whether a dead message returns to a queue where it died before, with nobody's rejection in between."""
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


#: Seconds until a dead message is sent on again.
RETRY_DELAY_SECONDS = 2

#: How many are sent on in one transaction.
BATCH = 100

#: Who holds them: no owner has that number, so nobody gives them back or hands them out.
NO_OWNER = -1

_DUE = "from message where holder = ? and consumer is null and turn <= ?"


def keep_undelivered(work: Transaction, queue: Queue, message: Message, wanted_by: Queue | None) -> None:
    """Keep ``message``, as it is to be sent on, in the queue where it died; ``wanted_by`` has no room for it now."""
    insert(work, queue, message, work.now, None)
    postpone(work, int(work.value("select last_insert_rowid()")), wanted_by)


def postpone(work: Transaction, message: int, wanted_by: Queue | None) -> None:
    """Try again later."""
    # Nobody counts the returns of such a message; the column tells which queue it is for, 0 where that is not known.
    sql = "update message set holder = ?, turn = ?, returns = ? where id = ?"
    work.execute(sql, (NO_OWNER, int(work.now) + RETRY_DELAY_SECONDS, wanted_by.id if wanted_by else 0, message))


def undelivered_due(store: Database, now: float) -> bool:
    """Whether it is time to send some on."""
    return bool(store.read(f"select 1 {_DUE} limit 1", NO_OWNER, now))


def due_undelivered(work: Transaction) -> list[Any]:
    """Some that it is time for, the longest waiting first.

    Each is its number, the numbers of the queue it died in and of the one it is for, and then exchange, key, more keys,
    properties and body.
    """
    columns = "select id, queue, returns, exchange, routing_key, more_keys, properties, body"
    return work.execute(f"{columns} {_DUE} order by turn, id limit ?", (NO_OWNER, work.now, BATCH)).fetchall()
