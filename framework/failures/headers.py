"""The headers and properties of a failed task: its own, without the broker's records, and those that say why."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from amqp.serialization import dumps

__all__ = ["PREFIX", "failed_properties", "failure_headers", "strip_death_headers"]


#: Headers in which the broker records dead-lettering; with them, it could take a copy for a message in a loop.
DEATH_HEADERS = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count")

#: The prefix of failure headers.
PREFIX = "x-failed-"

#: Bytes of an error and of a traceback that are stored.
ERROR_BYTES = 1024
TRACEBACK_BYTES = 8192

#: Bytes that a message's headers may have, so that with ours they fit into one of RabbitMQ's frames (131072).
HEADERS_BYTES = 100_000

# The broker refuses the user id of another user, and an expiration would delete the failed task.
DROPPED_PROPERTIES = {"user_id", "expiration"}


def strip_death_headers(headers: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a message's headers without the broker's records of dead-lettering."""
    return {name: value for name, value in headers.items() if not _starts(name, DEATH_HEADERS)}


def failure_headers(
    *, reason: str, error: str, traceback: str, attempts: int, worker: str, queue: str
) -> dict[str, str | int]:
    """Return the headers that say why a task failed; ``reason`` is one word.

    A long error is cut at its end, a long traceback at its beginning. ``queue`` is where the task came from and where
    it is retried.
    """
    return {
        f"{PREFIX}reason": reason,
        f"{PREFIX}error": _text(error)[:ERROR_BYTES].decode(errors="ignore"),
        f"{PREFIX}traceback": _text(traceback)[-TRACEBACK_BYTES:].decode(errors="ignore"),
        f"{PREFIX}at": datetime.now(UTC).isoformat(),
        f"{PREFIX}attempts": attempts,
        f"{PREFIX}worker": worker,
        f"{PREFIX}queue": queue,
    }


def failed_properties(properties: Mapping[str, Any], why: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties and headers to store for a failed message; ``why`` is from `failure_headers`."""
    headers = {**_sendable(properties.get("application_headers") or {}), **why}
    others = {name: value for name, value in properties.items() if name not in DROPPED_PROPERTIES}
    return {**others, "application_headers": headers, "delivery_mode": 2}


def _sendable(headers: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the headers; if they are too large, or cannot be encoded, one header with their beginning as text."""
    theirs = {name: value for name, value in strip_death_headers(headers).items() if not _starts(name, (PREFIX,))}
    try:
        fits = len(dumps("F", (theirs,))) <= HEADERS_BYTES
    except Exception:
        fits = False
    return theirs if fits else {f"{PREFIX}headers": ascii(theirs)[:TRACEBACK_BYTES]}


def _starts(name: object, prefixes: tuple[str, ...]) -> bool:
    return isinstance(name, str) and name.startswith(prefixes)


def _text(text: str) -> bytes:
    return text.encode(errors="backslashreplace")
