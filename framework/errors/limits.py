"""Errors of rate limits and unique tasks."""

from typing import Self

from framework.errors.base import FrameworkError


class BadLimit(FrameworkError, ValueError):
    """A limit cannot be kept as it is written."""

    @classmethod
    def of(cls, rate: object, fault: str) -> Self:
        """Say which, what is wrong, and how a limit is written."""
        return cls(
            f"The limit {rate!r} cannot be kept: {fault}. A limit is N/[M]unit, with s, m, h or d (or second, minute, "
            "hour, day) as the unit: '1/10s', '5/minute', '100/2h'."
        )

    @classmethod
    def unique(cls, fault: str) -> Self:
        """Say what is wrong with what makes a task unique."""
        return cls(f"A task cannot be unique like this: {fault}. Write unique=True, or unique=Unique(key='report').")

    @classmethod
    def on(cls, task: str, fault: str, cure: str) -> Self:
        """Say on which task it stands, what is wrong, and what would be right."""
        return cls(f"The task {task} cannot be limited or unique like this: {fault}. {cure}")


class BadKey(FrameworkError, ValueError):
    """There is nothing to count by; nothing was counted or queued."""

    @classmethod
    def of(cls, value: object, fault: str) -> Self:
        """Say what kind of value it is, never the value."""
        return cls(
            f"A {type(value).__name__} cannot be counted by: {fault}. Give a text or a number that is the same for "
            "the same visitor, such as his address or id."
        )

    @classmethod
    def missing(cls, key: str, task: str) -> Self:
        """Name the argument and the task."""
        return cls(f"{task} is limited, or unique, by {key}, which is None in this call. Nothing was queued; pass it.")


class OverLimit(FrameworkError):
    """There were too many in this time; nothing was queued. ``retry_after`` is the seconds until there is room."""

    retry_after = 0.0

    @classmethod
    def of(cls, name: str | None, rate: str, retry_after: float) -> Self:
        """Name the limit, its rate and when to come back."""
        error = cls(f"Too many: {name or 'this'} is limited to {rate}. Try again in {retry_after:.1f} s.")
        error.retry_after = retry_after
        return error


class AlreadyQueued(FrameworkError):
    """A unique task is queued or running already; nothing more was queued. ``id`` is the first one's."""

    id = ""

    @classmethod
    def by(cls, task: str, task_id: str) -> Self:
        """Name the task, and the id of the one that is there."""
        error = cls(f"{task} is queued or running already, as {task_id or 'one that is just being queued'}.")
        error.id = task_id
        return error
