"""Errors of a call of a task."""

from collections.abc import Collection
from difflib import get_close_matches
from typing import Self

from framework.errors.base import FrameworkError


class BadDelay(FrameworkError, ValueError):
    """A ``countdown`` or ``eta`` cannot be waited for; nothing was queued."""

    @classmethod
    def of(cls, given: object, cause: BaseException) -> Self:
        """Name what was given and what is wrong with it."""
        return cls(
            f"A task cannot wait for {given!r}: {cause}. Nothing was queued. "
            "countdown is a number of seconds, eta a datetime, at most a hundred years from now."
        )


class UnknownTask(FrameworkError):
    """No task has that name."""

    @classmethod
    def named(cls, name: str, known: Collection[str]) -> Self:
        """Say which name is unknown and which of the ``known`` ones is nearest."""
        close = get_close_matches(name, known, n=1)
        cure = f"Did you mean {close[0]!r}?" if close else "`framework tasks` lists every name."
        return cls(
            f"No task is called {name!r}. {cure} (A task of another project is declared with task_remote_names.)"
        )


class WrongArguments(FrameworkError, TypeError):
    """The arguments do not fit the task; nothing was queued."""

    @classmethod
    def of(cls, name: str, signature: object, cause: BaseException) -> Self:
        """Say what does not fit which signature."""
        return cls(f"{name}{signature}: {cause}. Nothing was queued.")
