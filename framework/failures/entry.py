"""A message in the queue of failed tasks: what people see of it, and how it looks when it is sent again."""

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
from typing import Any

import amqp
from celery import Celery
from kombu.serialization import dumps, loads

from framework.failures.headers import PREFIX, strip_death_headers
from framework.failures.redaction import Redaction

__all__ = ["FailedMessage", "FailedTask"]


#: Bytes of a body that are decoded to show the arguments; a larger one is kept, and shown without them.
LARGEST_SHOWN = 1 << 20

#: Why the broker gave a message up.
BROKER_REASONS = {
    "delivery_limit": "Given back more often than its queue allows: whatever ran it was lost each time.",
    "expired": "Waited in its queue for longer than it may.",
    "rejected": "A worker refused it.",
    "maxlen": "Its queue was full.",
}

#: Headers that a message got on its way here, or that address more copies of it; none belongs to the task.
TRANSPORT_HEADERS = ("x-acquired-count", "CC", "BCC")


@dataclass(frozen=True)
class FailedTask:
    """What is known of a task that failed; secrets in it are hidden unless they were asked for.

    ``args`` and ``kwargs`` are None where the message could not be understood; ``attempts`` and ``failed_at`` (UTC) are
    None where nobody recorded them. ``queue`` is where it came from and where it is sent again.
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
    """One message of the queue of failed tasks. Whatever its headers and body hold, looking at it raises nothing."""

    def __init__(self, message: amqp.Message) -> None:
        self.message = message
        self.headers: dict[str, Any] = dict(message.properties.get("application_headers") or {})

    @property
    def tag(self) -> int:
        """What the broker knows this delivery by."""
        return int(self.message.delivery_tag or 0)

    @cached_property
    def id(self) -> str:
        """The task's id; where the message has none, one made from its contents."""
        given = (self._of_task("id"), self.message.properties.get("correlation_id"))
        return next((text for text in given if text and isinstance(text, str) and len(text) <= 255), self._digest)

    @cached_property
    def task(self) -> str:
        """The task's name; empty where the message has none."""
        name = self._of_task("task")
        return name if isinstance(name, str) else ""

    @cached_property
    def reason(self) -> str:
        """Why it is here: in a word."""
        return self._recorded("reason") or str(self._death.get("reason") or "unknown")

    @cached_property
    def queue(self) -> str:
        """The queue that it came from; empty where nobody recorded it."""
        return self._recorded("queue") or str(self._death.get("queue") or "")

    def shown(self, app: Celery, hidden: Collection[str]) -> FailedTask:
        """What people see of it; ``hidden`` are the names of arguments to hide, none of them shows everything."""
        redaction = Redaction(hidden)
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
        """The message itself, for a record of one that could not be understood."""
        return {
            "headers": json.loads(json.dumps(strip_death_headers(self.headers), default=repr)),
            "content_type": self.message.properties.get("content_type"),
            "content_encoding": self.message.properties.get("content_encoding"),
            "body_base64": b64encode(self._bytes).decode(),
        }

    @property
    def understood(self) -> bool:
        """Whether the arguments could be read."""
        return self._arguments[0] is not None

    def to_send(self) -> tuple[Any, dict[str, Any]]:
        """Body and properties for another try: the same task with the same id, as if it had never been tried."""
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
        # Another user may send it than the one who did; and what had expired would expire at once.
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
        """A header; in messages of Celery's first protocol the body has what is a header today."""
        if "task" in self.headers or not isinstance(self._decoded, dict):
            return self.headers.get(name)
        return self._decoded.get(name)

    @cached_property
    def _death(self) -> dict[str, Any]:
        """The broker's own record of how it gave the message up, the newest one."""
        deaths = self.headers.get("x-death")
        newest = deaths[0] if isinstance(deaths, list) and deaths else None
        return newest if isinstance(newest, dict) else {}

    @cached_property
    def failed_at(self) -> datetime | None:
        """When it failed, in UTC; None where nobody recorded it."""
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
        """The body, if it is JSON of a modest size: no other format is safe to read without knowing who sent it."""
        try:
            body = _inflated(self._bytes, self.headers.get("compression"))
            kind = self.message.properties.get("content_type")
            return (
                loads(body, kind, "utf-8", accept={"application/json"}) if len(body) <= LARGEST_SHOWN and kind else None
            )
        except Exception:
            return None


def _inflated(body: bytes, compression: object) -> bytes:
    if compression is None:
        return body
    if compression != "application/x-gzip":
        raise ValueError(compression)
    return zlib.decompressobj().decompress(body, LARGEST_SHOWN + 1)


def _is_transport_header(header: object) -> bool:
    return header in TRANSPORT_HEADERS or (isinstance(header, str) and header.startswith(PREFIX))


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _takes(app: Celery, name: str) -> Signature | None:
    task = app.tasks.get(name)
    return signature(task.run) if task is not None else None
