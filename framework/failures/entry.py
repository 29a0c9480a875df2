"""A message in the failed-task queue, the redacted task that is displayed, and the message that retries it."""

import json
import zlib
from base64 import b64encode
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from inspect import Signature, signature
from typing import Any, Self

import amqp
from celery import Celery
from kombu.serialization import dumps, loads

from framework.broker.delays import queue_delayed_for
from framework.failures.headers import PREFIX, strip_death_headers
from framework.failures.redaction import Redaction

__all__ = ["FailedMessage", "FailedTask"]


#: Bytes of a body that are decoded; the arguments of a larger one are not displayed.
DECODED_BYTES = 1 << 20

#: Why the broker dead-lettered a message.
BROKER_REASONS = {
    "delivery_limit": "Redelivered more often than its queue allows: each worker that ran it was lost.",
    "expired": "Waited in its queue for longer than it may.",
    "rejected": "A worker refused it.",
    "maxlen": "Its queue was full.",
    "queue-deleted": "Its queue was deleted while it waited for its time or its retry.",
}

#: Headers that the broker added, or that address copies; none belongs to the task.
TRANSPORT_HEADERS = ("x-acquired-count", "CC", "BCC")


@dataclass(frozen=True)
class FailedTask:
    """A failed task, as it is displayed; its secrets are redacted unless requested otherwise.

    ``args`` and ``kwargs`` are None if the message could not be decoded; ``attempts`` and ``failed_at`` (UTC) are None
    if they were not recorded. ``queue`` is where it came from and where it is retried.
    """

    id: str
    task: str
    args: list[Any] | None
    kwargs: dict[str, Any] | None
    reason: str
    error: str
    traceback: str
    attempts: int | None
    manual_retries: int
    failed_at: datetime | None
    queue: str
    worker: str


class FailedMessage:
    """A message of the failed-task queue; reading it raises no error for any headers and body."""

    def __init__(self, message: amqp.Message) -> None:
        self.message = message
        self.headers: dict[str, Any] = dict(message.properties.get("application_headers") or {})

    @cached_property
    def id(self) -> str:
        """The task's id; if the message has none, one computed from its contents."""
        given = (self._of_task("id"), self.message.properties.get("correlation_id"))
        return next((text for text in given if text and isinstance(text, str) and len(text) <= 255), self._digest)

    @cached_property
    def task(self) -> str:
        """The task's name; empty if the message has none."""
        name = self._of_task("task")
        return name if isinstance(name, str) else ""

    @cached_property
    def reason(self) -> str:
        """Why the task failed, in one word."""
        if recorded := self._recorded("reason"):
            return recorded
        return "queue-deleted" if queue_delayed_for(self._death) else str(self._death.get("reason") or "unknown")

    @cached_property
    def queue(self) -> str:
        """The queue that it came from; empty if that was not recorded."""
        return self._recorded("queue") or queue_delayed_for(self._death) or str(self._death.get("queue") or "")

    def without_large_body(self) -> Self:
        """Return the message; a body that is too large to be displayed is left out, so that many can be kept."""
        if len(self.message.body or b"") > DECODED_BYTES:
            _ = self.id, self._decoded  # computed from the body
            self.message.body = b""
        return self

    def redacted(self, app: Celery, secret_names: Collection[str]) -> FailedTask:
        """Return the failed task without the arguments of these names; without names, nothing is redacted."""
        redaction = Redaction(secret_names)
        args, kwargs = self._arguments
        return FailedTask(
            id=self.id,
            task=self.task,
            args=None if args is None else redaction.positional(args, _takes(app, self.task)),
            kwargs=None if kwargs is None else redaction.named(kwargs),
            reason=self.reason,
            error=redaction.text(self._recorded("error") or BROKER_REASONS.get(self.reason, "")),
            traceback=redaction.text(self._recorded("traceback")),
            attempts=self._attempts(app),
            manual_retries=_number(self.headers.get("x-manual-retries")) or 0,
            failed_at=self.failed_at,
            queue=self.queue,
            worker=self._recorded("worker"),
        )

    @property
    def raw(self) -> dict[str, Any]:
        """The headers and body of the message, for the export of one that could not be decoded."""
        return {
            "headers": json.loads(json.dumps(strip_death_headers(self.headers), default=repr)),
            "content_type": self.message.properties.get("content_type"),
            "content_encoding": self.message.properties.get("content_encoding"),
            "body_base64": b64encode(self._bytes).decode(),
        }

    @property
    def understood(self) -> bool:
        """Whether the arguments could be decoded."""
        return self._arguments[0] is not None

    def to_send(self) -> tuple[Any, dict[str, Any]]:
        """Return body and properties for a retry: the same task with the same id, as if it had never run."""
        headers = {
            name: value for name, value in strip_death_headers(self.headers).items() if not _is_transport_header(name)
        }
        headers["x-manual-retries"] = (_number(headers.get("x-manual-retries")) or 0) + 1
        body = self.message.body
        if "task" in headers:
            headers |= {"retries": 0, "eta": None, "expires": None}
        elif isinstance(self._decoded, dict):
            headers.pop("compression", None)
            body = dumps({**self._decoded, "retries": 0, "eta": None, "expires": None}, serializer="json")[2]
        # Another user may retry it than the one who sent it; and an expired task would expire again at once.
        properties = {
            name: value for name, value in self.message.properties.items() if name not in ("user_id", "expiration")
        }
        return body, properties | {"application_headers": headers, "delivery_mode": 2}

    @property
    def _bytes(self) -> bytes:
        body = self.message.body
        if isinstance(body, str):
            with suppress(LookupError, UnicodeError):
                return body.encode(self.message.properties.get("content_encoding") or "utf-8")
            return body.encode("utf-8", "surrogateescape")
        return bytes(body or b"")

    @cached_property
    def _digest(self) -> str:
        return f"no-id-{sha256(self._bytes + repr(self._recorded('at')).encode()).hexdigest()[:16]}"

    def _recorded(self, name: str) -> str:
        value = self.headers.get(PREFIX + name)
        return value if isinstance(value, str) else ""

    def _of_task(self, name: str) -> Any:
        """Return a task header; in Celery's first protocol the body has these fields."""
        if "task" in self.headers or not isinstance(self._decoded, dict):
            return self.headers.get(name)
        return self._decoded.get(name)

    @cached_property
    def _death(self) -> dict[str, Any]:
        """The broker's newest record of dead-lettering the message."""
        deaths = self.headers.get("x-death")
        newest = deaths[0] if isinstance(deaths, list) and deaths else None
        return newest if isinstance(newest, dict) else {}

    @cached_property
    def failed_at(self) -> datetime | None:
        """When it failed, in UTC; None if that was not recorded."""
        at = self._death.get("time") if not self._recorded("at") else None
        with suppress(ValueError):
            at = at or datetime.fromisoformat(self._recorded("at"))
        if not isinstance(at, datetime):
            return None
        return at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)

    def _attempts(self, app: Celery) -> int | None:
        recorded = _number(self.headers.get(f"{PREFIX}attempts"))
        if recorded is None and self.reason == "delivery_limit" and (limit := app.conf.get("task_delivery_limit")):
            return int(limit) + 1
        return recorded

    @cached_property
    def _arguments(self) -> tuple[list[Any] | None, dict[str, Any] | None]:
        match self._decoded:
            case [list() as args, dict() as kwargs, *_]:
                return args, kwargs
            case {"args": list() as args, "kwargs": dict() as kwargs}:
                return args, kwargs
        return None, None

    @cached_property
    def _decoded(self) -> Any:
        """The decoded body, if it is JSON of limited size: no other format is safe to decode from unknown senders."""
        try:
            body = _inflated(self._bytes, self.headers.get("compression"))
            kind = self.message.properties.get("content_type")
            return (
                loads(body, kind, "utf-8", accept={"application/json"}) if len(body) <= DECODED_BYTES and kind else None
            )
        except Exception:
            return None


def _inflated(body: bytes, compression: object) -> bytes:
    if compression is None:
        return body
    if compression != "application/x-gzip":
        raise ValueError(compression)
    return zlib.decompressobj().decompress(body, DECODED_BYTES + 1)


def _is_transport_header(header: object) -> bool:
    return header in TRANSPORT_HEADERS or (isinstance(header, str) and header.startswith(PREFIX))


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _takes(app: Celery, name: str) -> Signature | None:
    task = app.tasks.get(name)
    return signature(task.run) if task is not None else None
