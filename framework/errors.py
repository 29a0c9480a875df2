"""Every exception of the framework, one tree.

Each carries its message alone, so that it survives the trip from a worker, and the message names the thing, the cause
and the cure. They are click's exceptions too: a command line (Celery's, Flask's, ours) prints such an error as one
line and exits with 1, without a traceback.
"""

from collections.abc import Collection
from difflib import get_close_matches
from typing import Self

from click import ClickException
from kombu.exceptions import OperationalError


class FrameworkError(ClickException):
    """The root of them all."""


class BrokerError(FrameworkError, OperationalError):
    """The broker could not do what was asked; caught also by ``except kombu.exceptions.OperationalError``."""


class UnknownTask(FrameworkError):
    """No task has that name."""

    @classmethod
    def named(cls, name: str, known: Collection[str]) -> Self:
        """Say which name is unknown and which of the ``known`` ones is nearest."""
        close = get_close_matches(name, known, n=1)
        cure = f"Did you mean {close[0]!r}?" if close else "`framework tasks` lists every name."
        return cls(f"No task is called {name!r}. {cure}")
