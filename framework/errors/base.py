"""The root of the framework's exceptions, and how their messages are written."""

from collections.abc import Collection
from pathlib import Path
from traceback import extract_tb

from click import ClickException


class FrameworkError(ClickException):
    """The root of the framework's exceptions."""


class FrameworkWarning(UserWarning):
    """Something works, but not in the way it should be written."""


def one_line(cause: BaseException) -> str:
    """Return an exception as part of a sentence: on one line, without the full stop."""
    return " ".join(describe(cause).split()).rstrip(".")


def listed(names: Collection[str]) -> str:
    """Return names in their order, separated by commas; ``none`` where there are none."""
    return ", ".join(sorted(names)) or "none"


def as_argument(value: object) -> str:
    """Return the value of a queue's argument as a message names it."""
    return "not set" if value is None else repr(value)


def describe(cause: BaseException) -> str:
    """Return an exception in one line: ``ValueError: too long``."""
    return f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__


def location(cause: BaseException, path: Path | None) -> str:
    """Return the file and line that an exception came from, in ``path``, the file being imported, if it went there."""
    if isinstance(cause, SyntaxError):
        return f"{cause.filename}, line {cause.lineno}"
    inside = [frame for frame in extract_tb(cause.__traceback__) if path is not None and Path(frame.filename) == path]
    if inside:
        return f"{path}, line {inside[-1].lineno}"
    return str(path or "there is no such file")
