"""A message's properties and headers as they lie in the file, and back, exactly as AMQP would carry them."""

import json
from collections.abc import Mapping
from typing import Any

from amqp.serialization import dumps, loads

__all__ = ["body_from", "body_of", "decoded", "encoded"]

_to_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode
_from_json = json.JSONDecoder().decode


def encoded(properties: Mapping[str, Any]) -> str | bytes:
    """Properties as JSON; as an AMQP table when they hold what JSON cannot (times, bytes, decimals)."""
    present = {name: value for name, value in properties.items() if value is not None}
    try:
        return _to_json(present)
    except TypeError:
        return bytes(dumps("F", (present,)))


def decoded(stored: str | bytes) -> dict[str, Any]:
    """The properties that ``encoded`` made."""
    if isinstance(stored, str):
        return dict(_from_json(stored))
    return dict(loads("F", stored, 0)[0][0])


def body_of(body: Any, properties: dict[str, Any]) -> bytes:
    """A body as bytes; text is encoded, and its encoding noted in ``properties``, as py-amqp does."""
    if isinstance(body, str):
        properties["content_encoding"] = properties.get("content_encoding") or "utf-8"
        return body.encode(properties["content_encoding"])
    return bytes(body or b"")


def body_from(body: bytes, properties: Mapping[str, Any]) -> str | bytes:
    """A body as its reader gets it: text where the content encoding names one, as py-amqp does."""
    encoding = properties.get("content_encoding")
    if encoding is None:
        return body
    try:
        return body.decode(encoding)
    except (LookupError, ValueError, TypeError):
        return body
