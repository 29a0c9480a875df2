"""The headers and properties of a failed task: why it failed, and its own ones without the traces of its way."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from amqp.serialization import dumps

__all__ = ["PREFIX", "failed_properties", "failure_headers", "strip_death_headers"]


#: Headers by which the broker tells of a message's deaths; a copy that kept them could be taken for one in a loop.
DEATH_HEADERS = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count")

#: What the headers that say why a task failed begin with.
PREFIX = "x-failed-"

#: Bytes of an error and of a traceback that are kept.
LONGEST_ERROR = 1024
LONGEST_TRACEBACK = 8192

#: Bytes that a message's headers may have, so that they fit with ours into one of RabbitMQ's frames (131,072).
LARGEST_HEADERS = 100_000

# The broker refuses another's user id, and drops at its expiration what has to be kept.
DROPPED_PROPERTIES = {"user_id", "expiration"}


def strip_death_headers(headers: Mapping[Any, Any]) -> dict[Any, Any]:
    """A message's headers as they were before any queue gave it up."""
    return {name: value for name, value in headers.items() if not _starts(name, DEATH_HEADERS)}


def failure_headers(
    *, reason: str, error: str, traceback: str, attempts: int, worker: str, queue: str
) -> dict[str, str | int]:
    """The headers that say why a task failed: a ``reason`` of one word, and what is known besides.

    Of a long error the beginning is kept, of a long traceback the end. ``queue`` is where it came from, and where it
    goes when it is sent again.
    """
    return {
        f"{PREFIX}reason": reason,
        f"{PREFIX}error": _text(error)[:LONGEST_ERROR].decode(errors="ignore"),
        f"{PREFIX}traceback": _text(traceback)[-LONGEST_TRACEBACK:].decode(errors="ignore"),
        f"{PREFIX}at": datetime.now(UTC).isoformat(),
        f"{PREFIX}attempts": attempts,
        f"{PREFIX}worker": worker,
        f"{PREFIX}queue": queue,
    }


def failed_properties(properties: Mapping[str, Any], why: Mapping[str, Any]) -> dict[str, Any]:
    """The properties and headers of a message that failed, as they are kept, with what `facts` says of it."""
    headers = {**_sendable(properties.get("application_headers") or {}), **why}
    others = {name: value for name, value in properties.items() if name not in DROPPED_PROPERTIES}
    return {**others, "application_headers": headers, "delivery_mode": 2}


def _sendable(headers: Mapping[Any, Any]) -> dict[Any, Any]:
    """The headers; those that are too large to be sent with ours, or cannot be written, as their beginning in text."""
    theirs = {name: value for name, value in strip_death_headers(headers).items() if not _starts(name, (PREFIX,))}
    try:
        fits = len(dumps("F", (theirs,))) <= LARGEST_HEADERS
    except Exception:
        fits = False
    return theirs if fits else {f"{PREFIX}headers": ascii(theirs)[:LONGEST_TRACEBACK]}


def _starts(name: object, prefixes: tuple[str, ...]) -> bool:
    return isinstance(name, str) and name.startswith(prefixes)


def _text(text: str) -> bytes:
    return text.encode(errors="backslashreplace")
