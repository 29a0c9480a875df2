"""A dead message's history, written into its headers as RabbitMQ writes it."""

from datetime import UTC, datetime
from typing import Any

from framework.broker.declared import Queue
from framework.broker.properties import decoded, encoded
from framework.broker.queues import Letter

__all__ = ["came_back", "dead_letter"]


def dead_letter(queue: Queue, letter: Letter, reason: str) -> Letter:
    """The letter that goes to the dead-letter exchange of ``queue``, which must have one."""
    properties = decoded(letter.properties)
    headers = properties["application_headers"] = dict(properties.get("application_headers") or {})
    _record(headers, queue, letter, reason, properties.pop("expiration", None))
    keys = letter.keys
    if queue.dead_letter_key is not None:
        keys = (queue.dead_letter_key,)
        headers.pop("CC", None)
    priority = int(properties.get("priority") or 0)
    return Letter(str(queue.dead_letter_exchange), keys, encoded(properties), letter.body, priority, None)


def came_back(letter: Letter, queue: Queue) -> bool:
    """Whether a dead letter returns to a queue where it died before, with nobody's rejection in between."""
    for death in decoded(letter.properties)["application_headers"]["x-death"]:
        if death.get("reason") == "rejected":
            return False
        if death.get("queue") == queue.name:
            return True
    return False


def _record(headers: dict[str, Any], queue: Queue, letter: Letter, reason: str, expiration: str | None) -> None:
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
