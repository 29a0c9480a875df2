"""A message as py-amqp publishes it, made into a letter: checked, its copies addressed, its properties encoded."""

from collections.abc import Mapping
from typing import Any

import amqp

from framework.broker import refusals
from framework.broker.properties import body_of, encoded
from framework.broker.queues import Letter

__all__ = ["letter_of"]


def letter_of(message: amqp.Message, exchange: str, routing_key: str) -> Letter:
    """The letter that ``message`` becomes; its ``BCC`` header addresses copies and is not seen by their readers.

    Raises:
        amqp.exceptions.PreconditionFailed: its expiration or the addresses of its copies cannot be.
    """
    properties = dict(message.properties)
    body = body_of(message.body, properties)
    headers = properties.get("application_headers")
    keys: tuple[str, ...] = (routing_key,)
    if headers and ("CC" in headers or "BCC" in headers):
        keys += _copies(headers, "CC") + _copies(headers, "BCC")
        properties["application_headers"] = {name: value for name, value in headers.items() if name != "BCC"}
    return Letter(
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
        raise refusals.invalid(f"unexpected values in header {name!r}: a list of routing keys is wanted")
    return tuple(copies)


def _expiration(milliseconds: str | None) -> float | None:
    if milliseconds is None:
        return None
    if not str(milliseconds).isdecimal():
        raise refusals.invalid(f"invalid expiration {milliseconds!r}: a string of milliseconds is wanted")
    return int(milliseconds) / 1000
