"""Delivers messages whose properties py-amqp cannot read, with the raw properties in one header."""

from collections.abc import Callable
from typing import Any

from amqp.method_framing import frame_handler
from amqp.serialization import decode_properties_basic, dumps

__all__ = ["UNREADABLE", "tolerate_unreadable"]


#: The header that replaces headers and properties which py-amqp cannot read; it holds them as hexadecimal text.
UNREADABLE = "x-unreadable-properties"

HEADER_FRAME = 2
#: A header frame's bytes before its properties: class, weight and the size of the body.
FIXED = 12
ONLY_HEADERS = b"\x20\x00"


def tolerate_unreadable(connection: Any) -> None:
    """Let a kombu connection, before it is opened, deliver messages with unreadable properties instead of raising.

    Such are an impossible timestamp, text that is not UTF-8, and deeply nested tables: every publisher can send them,
    and RabbitMQ delivers them. A transport without AMQP's frames needs nothing.
    """
    if connection.transport.driver_type == "amqp":
        connection.transport_options = {"frame_handler": tolerant_frame_handler, **(connection.transport_options or {})}


def tolerant_frame_handler(connection: Any, callback: Callable[..., Any]) -> Callable[[Any], bool]:
    """Return py-amqp's frame handler, which puts unreadable properties into one header instead of raising."""
    handle: Callable[[Any], bool] = frame_handler(connection, callback)

    def on_frame(frame: tuple[int, int, bytes]) -> bool:
        kind, channel, content = frame
        try:
            return handle(frame)
        except Exception:
            if kind != HEADER_FRAME or _is_readable(content):
                raise
        return handle((kind, channel, _replaced(content)))

    return on_frame


def _is_readable(content: bytes) -> bool:
    try:
        decode_properties_basic(content, FIXED)
    except Exception:
        return False
    return True


def _replaced(content: bytes) -> bytes:
    raw = bytes(content[FIXED:]).hex()
    return content[:FIXED] + ONLY_HEADERS + bytes(dumps("F", ({UNREADABLE: raw},)))
