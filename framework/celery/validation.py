"""Validates a message before Celery sees it, so that no message can end the worker or make it hang.

The checks are pure: a message's parts go in, `InvalidMessage` is raised or not.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import amqp
from celery.utils.time import maybe_iso8601, maybe_make_aware
from kombu import compression
from kombu.transport import pyamqp

from framework.celery.calls import CENTURY

__all__ = ["DEEPEST_NESTING", "IncomingMessage", "InvalidMessage", "Limits", "check_body", "validate"]


#: Levels of lists and mappings in each other. Celery pickles what it has read, which ends at about a thousand.
DEEPEST_NESTING = 200

#: Seconds of the longest time limit: ten years, which every timer can wait for.
LONGEST_TIME_LIMIT_SECONDS = 3.2e8

DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "application/x-gzip": zlib.decompressobj,
    "application/x-bz2": bz2.BZ2Decompressor,
    "application/x-lzma": lzma.LZMADecompressor,
}


class InvalidMessage(Exception):
    """A message cannot be run: a ``reason`` of one word, a sentence, and how often it was run before."""

    def __init__(self, reason: str, sentence: str, attempts: int = 0) -> None:
        super().__init__(reason, sentence)
        self.reason = reason
        self.sentence = sentence
        self.attempts = attempts

    def __str__(self) -> str:
        return self.sentence


@dataclass(frozen=True)
class Limits:
    """Accepted messages: bodies of up to ``max_bytes``, and these compressions, by their content types."""

    max_bytes: int
    compressions: frozenset[str]

    @classmethod
    def of(cls, max_bytes: int, compressions: Iterable[str | None]) -> "Limits":
        """Return limits with compressions by any name that kombu knows, such as ``gzip``."""
        return cls(max_bytes, frozenset(content_type(name) for name in compressions if name))


def content_type(name: Any) -> str:
    """Return the content type of a compression, by any of its names.

    Raises:
        KeyError: there is no such compression.
    """
    encoder: Any = compression.get_encoder(name)
    return str(encoder[1])


def check_body(body: bytes | str, headers: Mapping[str, Any], limits: Limits) -> None:
    """Refuse a body, as it came, that is too large or should not be decompressed.

    Raises:
        InvalidMessage: ``too-large`` or ``refused``.
    """
    if compressed := headers.get("compression"):
        _check_compression(body, compressed, limits)
    if len(body) > limits.max_bytes:
        raise _too_large(f"{len(body):,}", limits)


def _check_compression(body: bytes | str, compressed: object, limits: Limits) -> None:
    try:
        method = content_type(compressed)
    except (KeyError, TypeError):
        method = ""
    if method not in limits.compressions:
        raise InvalidMessage(
            "refused",
            f"its body is compressed with {_quoted(compressed)}, which this application does not use: "
            "set task_compression if it should",
        )
    decompressor = DECOMPRESSORS.get(method)
    if decompressor is None:
        return
    try:
        size = len(decompressor().decompress(body, limits.max_bytes + 1))
    except Exception as exc:
        raise InvalidMessage("undecodable", f"its body cannot be decompressed: {exc}") from exc
    if size > limits.max_bytes:
        raise _too_large(f"more than {limits.max_bytes:,}", limits)


def _too_large(size: str, limits: Limits) -> InvalidMessage:
    return InvalidMessage("too-large", f"its body has {size} bytes, and task_message_max_bytes is {limits.max_bytes:,}")


def validate(headers: Mapping[Any, Any], payload: object) -> datetime | None:
    """Check a task's headers and decoded body, in any protocol of Celery; return its eta, where it has one.

    Args:
        headers: The message's headers.
        payload: Its decoded body.

    Raises:
        InvalidMessage: ``malformed`` or ``too-far``.
    """
    fields, args, kwargs, embed = _parts(headers, payload)
    for name, (is_right, wanted) in FIELDS.items():
        if not is_right(fields.get(name)):
            raise _malformed(f"{name} is {_quoted(fields.get(name))}, and must be {wanted}")
    if not isinstance(args, list | tuple) or not isinstance(kwargs, Mapping):
        raise _malformed("its arguments are no list and mapping")
    for name, (is_right, wanted) in CANVAS.items():
        if not is_right({**fields, **embed}.get(name)):
            raise _malformed(f"{name} must be {wanted}")
    if _is_deeper_than(DEEPEST_NESTING, [headers, payload]):
        raise _malformed(f"it is nested more than {DEEPEST_NESTING} levels deep")
    _parsed_time("expires", fields.get("expires"))
    eta = _parsed_time("eta", fields.get("eta"))
    if eta is not None and eta > datetime.now(UTC) + CENTURY:
        raise InvalidMessage("too-far", f"its eta is {eta.isoformat()}, more than a hundred years away")
    return eta


def _parts(headers: Mapping[Any, Any], payload: object) -> tuple[Mapping[Any, Any], object, object, Mapping[Any, Any]]:
    """Return the task's fields, its arguments and the rest of its canvas, from where its protocol has them."""
    if "task" in headers and not (isinstance(payload, Mapping) and "args" in payload):
        return headers, *_triple(payload)
    if not isinstance(payload, Mapping):
        raise _malformed("it names no task, in its headers or its body")
    return {**payload, **headers}, payload.get("args", ()), payload.get("kwargs", {}), {}


def _triple(payload: object) -> tuple[object, object, Mapping[Any, Any]]:
    if not isinstance(payload, list | tuple) or len(payload) != 3:
        raise _malformed("its body is not [arguments, keyword arguments, canvas]")
    args, kwargs, embed = payload
    if not isinstance(embed or {}, Mapping):
        raise _malformed("the third part of its body is no mapping")
    return args, kwargs, embed or {}


def _parsed_time(name: str, value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        parsed: Any = maybe_iso8601(value)
        return maybe_make_aware(parsed, UTC).astimezone(UTC)  # without a zone it is UTC, says Celery
    except Exception as exc:
        raise _malformed(f"{name} is {_quoted(value)}, and is no time: {exc}") from exc


def _is_deeper_than(limit: int, value: object) -> bool:
    level = [value]
    for _ in range(limit + 1):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return False
    return True


def _inside(value: object) -> Iterable[object]:
    """Return the containers in a container."""
    inside: Iterable[object] = value.values() if isinstance(value, Mapping) else value  # type: ignore[assignment]
    return [inner for inner in inside if isinstance(inner, Mapping | list | tuple)]


def _malformed(sentence: str) -> InvalidMessage:
    return InvalidMessage("malformed", sentence)


def _quoted(value: object) -> str:
    """Return a value as a message quotes it: short, on one line."""
    text = ascii(value) if isinstance(value, str | int | float | bytes | None) else f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 255


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_count(value: object) -> bool:
    return value is None or (_is_integer(value) and 0 <= value < 2**31)  # type: ignore[operator]


def _is_limits(value: object) -> bool:
    return not value or (isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_limit, value)))


def _is_limit(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONGEST_TIME_LIMIT_SECONDS


def _is_texts(value: object) -> bool:
    return value is None or (isinstance(value, list | tuple) and all(isinstance(text, str) for text in value))


def _is_mapping(value: object) -> bool:
    return value is None or isinstance(value, Mapping)


def _is_mappings(value: object) -> bool:
    return value is None or (isinstance(value, list | tuple) and all(isinstance(inner, Mapping) for inner in value))


Check = tuple[Callable[[object], bool], str]

#: The headers that Celery's worker relies on; it passes on the others.
FIELDS: dict[str, Check] = {
    "task": (_is_id, "a task's name"),
    "id": (_is_id, "a string of 1 to 255 characters"),
    "root_id": (_is_text, "a string"),
    "parent_id": (_is_text, "a string"),
    "group": (_is_text, "a string"),
    "shadow": (_is_text, "a string"),
    "group_index": (_is_count, "a whole number"),
    "replaced_task_nesting": (_is_count, "a whole number"),
    "retries": (_is_count, "a whole number"),
    "timelimit": (_is_limits, "two numbers of seconds"),
    "stamped_headers": (_is_texts, "a list of strings"),
    "stamps": (_is_mapping, "a mapping"),
}

CANVAS: dict[str, Check] = {
    "callbacks": (_is_mappings, "a list of signatures"),
    "errbacks": (_is_mappings, "a list of signatures"),
    "chain": (_is_mappings, "a list of signatures"),
    "chord": (_is_mapping, "a signature"),
}


class IncomingMessage(pyamqp.Message):
    """A message whose body is decompressed only where the application compresses, up to the size limit."""

    def __init__(self, msg: amqp.Message, channel: Any = None, *, limits: Limits, **options: Any) -> None:
        #: The body as it was sent, in which form it can be published again.
        self.sent_body = msg.body
        try:
            check_body(msg.body, msg.properties.get("application_headers") or {}, limits)
        except InvalidMessage as fault:
            self.errors = [(InvalidMessage, fault, None)]  # a message with errors is not decompressed
        super().__init__(msg, channel=channel, **options)
