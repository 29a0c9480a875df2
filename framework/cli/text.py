"""Text for a terminal: one line, truncated, without control characters; times."""

import re
import shutil
from datetime import datetime, tzinfo

__all__ = ["WIDTH", "escaped", "format_time", "one_line", "truncated"]

#: Columns of the output where it is no terminal.
WIDTH = 80

# A terminal obeys these characters instead of displaying them.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def escaped(text: str) -> str:
    """Return text with its control characters escaped: a message may come from any publisher."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def one_line(text: str) -> str:
    """Return text on one line, with its control characters escaped."""
    return escaped(" ".join(text.split()))


def truncated(line: str, width: int | None = None) -> str:
    """Return a line cut to ``width`` columns, by default those of the terminal."""
    width = width or shutil.get_terminal_size((WIDTH, 24)).columns
    return line if len(line) <= width else f"{line[: width - 1]}…"


def format_time(at: datetime, zone: tzinfo | None = None) -> str:
    """Return a time in ``zone`` with the zone's name, or in the local zone without it."""
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S{' %Z' if zone else ''}}"
