"""The root of the framework's exceptions, and how an error and its message are made.

An error is made by a classmethod of its class, whose name is a preposition that reads with its arguments:
``BrokerUnreachable.at(url, cause)``, ``UnknownTask.named(name, known)``, ``AlreadyQueued.by(task, task_id)``,
``BadKey.of(value, fault)``, ``MissingSecret.here()``. It writes the text with `message` and returns the error::

    @classmethod
    def at(cls, host: str, port: int, cause: OSError) -> Self:
        return cls(message(f"Cannot listen on {host}, port {port}", cause.strerror, fix="Take another port."))

The constructor takes the text alone, so that the error survives pickling; an attribute such as ``retry_after`` is set
afterwards. Callers pass the parts: ``fault`` is a cause in words, ``fix`` a sentence, and a URL has no password.
"""

from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path
from traceback import extract_tb

from click import ClickException


class FrameworkError(ClickException):
    """The root of the framework's exceptions."""


class FrameworkWarning(UserWarning):
    """Something works, but not in the way it should be written."""


def message(problem: str, cause: object = "", *, effect: str = "", fix: str = "") -> str:
    """Return the text of an error: ``problem: cause. effect fix``.

    >>> message("The broker cannot be used", OSError("timed out"), effect="Nothing was queued.", fix="Start it.")
    'The broker cannot be used: timed out. Nothing was queued. Start it.'

    Args:
        problem: names the thing and says what it does not do, without a full stop.
        cause: an exception or its words, if there is one.
        effect: a sentence: what was done, or was not.
        fix: a sentence, or one that ends in a command to copy.
    """
    words = cause_of(cause) if isinstance(cause, BaseException) else str(cause or "")
    first = f"{problem}: {words}" if words else problem
    return " ".join(filter(None, [first if first.endswith((".", "?", "!")) else f"{first}.", effect, fix]))


def nearest(name: str, known: Collection[str], otherwise: str) -> str:
    """Return the fix for an unknown name: ``Did you mean 'x'?``, or ``otherwise`` where no known name is near."""
    close = get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]!r}?" if close else otherwise


def cause_of(cause: BaseException) -> str:
    """Return the text of an exception; the name of its class where it has none."""
    return str(cause) or type(cause).__name__


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


def location_in(folder: Path, cause: BaseException) -> str:
    """Return the last file and line below ``folder`` that an exception passed; empty where there is none.

    The frame that caught it does not count, nor do packages that are installed below the folder, as in ``.venv``.
    """
    if isinstance(cause, SyntaxError):
        return f"{cause.filename}, line {cause.lineno}"
    paths = [(Path(frame.filename), frame.lineno) for frame in extract_tb(cause.__traceback__)[1:]]
    inside = [(path, line) for path, line in paths if path.is_relative_to(folder) and "site-packages" not in path.parts]
    return "{}, line {}".format(*inside[-1]) if inside else ""
