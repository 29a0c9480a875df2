"""Values of environment variables; a bad value is an error that names its variable."""

import math
import os
from pathlib import Path
from typing import TypeVar

from framework.errors import BadEnvironment

__all__ = ["file", "flag", "folder", "number", "text"]


Number = TypeVar("Number", int, float)

YES = frozenset({"1", "true", "yes", "on"})
NO = frozenset({"0", "false", "no", "off"})


def text(name: str, default: str = "") -> str:
    """Return the variable's text without spaces around it, or ``default`` where it is unset or empty."""
    return os.environ.get(name, "").strip() or default


def number(name: str, default: Number, *, least: Number, most: Number | None = None) -> Number:
    """Return the variable as a number of the same type as ``default``, from ``least`` to ``most``.

    Raises:
        BadEnvironment: it is not a number, or out of bounds.
    """
    value = text(name)
    highest = math.inf if most is None else most
    try:
        found = type(default)(value) if value else default
    except ValueError:
        found = None
    if found is None or not least <= found <= highest:
        kind = "a whole number" if isinstance(default, int) else "a number"
        raise BadEnvironment.of(name, value, f"{kind} from {least}" + (f" to {most}" if most else ""))
    return found


def flag(name: str) -> bool:
    """Return whether the variable says yes: ``1``, ``true``, ``yes`` or ``on``; unset is no.

    Raises:
        BadEnvironment: it says neither yes nor no.
    """
    value = text(name, "no")
    if value.lower() not in YES | NO:
        raise BadEnvironment.of(name, value, "yes or no")
    return value.lower() in YES


def file(name: str) -> Path | None:
    """Return the file that the variable names; None where it is unset.

    Raises:
        BadEnvironment: there is no such file.
    """
    value = text(name)
    if value and not Path(value).is_file():
        raise BadEnvironment.of(name, value, f"an existing file (looked from {Path.cwd()})")
    return Path(value) if value else None


def folder(name: str, default: str) -> Path:
    """Return the folder that the variable names, which need not exist yet."""
    return Path(text(name, default))
