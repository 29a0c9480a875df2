"""Messages whose properties py-amqp cannot read: they are handed over all the same, with what came in one header."""

from collections.abc import Callable
from typing import Any

from amqp.method_framing import frame_handler
from amqp.serialization import decode_properties_basic, dumps

__all__ = ["UNREADABLE", "tolerant_frame_handler"]


#: The header that stands for headers and properties which py-amqp cannot read; it holds them as they came.
UNREADABLE = "x-unreadable-properties"

HEADER_FRAME = 2
#: A header frame's bytes before its properties: class, weight and the size of the body.
FIXED = 12
ONLY_HEADERS = b"\x20\x00"


def tolerant_frame_handler(connection: Any, callback: Callable[..., Any]) -> Callable[[Any], bool]:
    """py-amqp's frame handler; properties that it cannot read are put into one header instead of being raised.

    Such are an impossible timestamp, text that is no UTF-8, and tables in tables in tables: anybody who may publish
    can write them, and the broker passes them on.
    """
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
