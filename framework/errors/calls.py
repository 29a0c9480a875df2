"""Errors of a call of a task."""

from collections.abc import Collection
from typing import Self

from framework.errors.base import FrameworkError, message, nearest


class BadDelay(FrameworkError, ValueError):
    """A ``countdown`` or ``eta`` cannot be waited for; nothing was queued."""

    @classmethod
    def of(cls, given: object, cause: BaseException) -> Self:
        """Name the value and its fault."""
        return cls(
            message(
                f"A task cannot wait for {given!r}",
                cause,
                effect="Nothing was queued.",
                fix="countdown is a number of seconds, eta a datetime, at most a hundred years from now.",
            )
        )


class UnknownTask(FrameworkError):
    """No task has that name."""

    @classmethod
    def named(cls, name: str, known: Collection[str]) -> Self:
        """Say which name is unknown and which of the ``known`` ones is nearest."""
        fix = nearest(name, known, "`framework tasks` lists every name.")
        remote = "(A task of another project is declared with task_remote_names.)"
        return cls(message(f"No task is called {name!r}", fix=f"{fix} {remote}"))


class InvalidArguments(FrameworkError, TypeError):
    """The arguments do not fit the task; nothing was queued."""

    @classmethod
    def of(cls, name: str, signature: object, cause: BaseException) -> Self:
        """Say which argument does not fit which signature."""
        return cls(message(f"{name}{signature}", cause, effect="Nothing was queued."))


class TaskTooLarge(FrameworkError, ValueError):
    """The message of a task would be larger than a worker takes; nothing was queued."""

    @classmethod
    def of(cls, name: str, size: int, limit: int) -> Self:
        """Name the task, the bytes of its message and the limit."""
        return cls(
            message(
                f"The message of {name} has {size:,} bytes with its arguments",
                f"task_message_max_bytes is {limit:,}",
                effect="Nothing was queued.",
                fix="Store large data where the worker can read it and pass its place, or raise task_message_max_bytes "
                "for callers and workers.",
            )
        )
