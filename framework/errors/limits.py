"""Errors of rate limits and unique tasks."""

from typing import Self

from framework.errors.base import FrameworkError, message
from framework.errors.broker import BrokerUnreachable


class BadLimit(FrameworkError, ValueError):
    """A limit cannot be kept as it is written."""

    @classmethod
    def of(cls, rate: object, fault: str) -> Self:
        """Name the limit and its fault, and say how a limit is written."""
        return cls(
            message(
                f"The limit {rate!r} cannot be kept",
                fault,
                fix="A limit is N/[M]unit, with s, m, h or d (or second, minute, hour, day) as the unit: '1/10s', "
                "'5/minute', '100/2h'.",
            )
        )

    @classmethod
    def of_unique(cls, fault: str) -> Self:
        """Name the fault of the options that make a task unique."""
        fix = "Write unique=True, or unique=Unique(key='report')."
        return cls(message("A task cannot be unique like this", fault, fix=fix))

    @classmethod
    def on(cls, task: str, fault: str, fix: str) -> Self:
        """Name the task, the fault and the fix."""
        return cls(message(f"The task {task} cannot be limited or unique like this", fault, fix=fix))


class BadKey(FrameworkError, ValueError):
    """A call has no usable key to count by; nothing was counted or queued."""

    @classmethod
    def of(cls, value: object, fault: str) -> Self:
        """Say what kind of value it is, never the value."""
        return cls(
            message(
                f"A {type(value).__name__} cannot be counted by",
                fault,
                fix="Give a text or a number that is the same for the same visitor, such as his address or id.",
            )
        )

    @classmethod
    def in_call(cls, key: str, task: str) -> Self:
        """Name the argument and the task of a call that has no value for it."""
        problem = f"{task} is limited, or unique, by {key}, which is None in this call"
        return cls(message(problem, effect="Nothing was queued; pass it."))


class OverLimit(FrameworkError):
    """A rate limit is reached; nothing was queued. ``retry_after`` is the seconds until the next token is free."""

    retry_after = 0.0

    @classmethod
    def of(cls, name: str | None, rate: str, retry_after: float) -> Self:
        """Name the limit, its rate and the seconds until a retry may succeed."""
        fix = f"Retry in {retry_after:.1f} s."
        error = cls(message("Too many", f"{name or 'this'} is limited to {rate}", fix=fix))
        error.retry_after = retry_after
        return error


class LimitUnavailable(BrokerUnreachable):
    """The broker cannot count a limit now; nothing was queued."""

    @classmethod
    def of(cls, name: str, rate: str, cause: BaseException | str) -> Self:
        """Name the limit, its rate and the cause, and say how to allow calls meanwhile."""
        return cls(
            message(
                f"The limit {name} of {rate} cannot be counted",
                cause,
                effect="Nothing was queued.",
                fix="Retry later; a limit with on_unavailable='allow' lets calls pass uncounted meanwhile.",
            )
        )


class AlreadyQueued(FrameworkError):
    """A unique task is queued or running already; nothing more was queued. ``id`` is the first one's."""

    id = ""

    @classmethod
    def by(cls, task: str, task_id: str) -> Self:
        """Name the task, and the id of the one that is there."""
        holder = task_id or "one that is just being queued"
        error = cls(message(f"{task} is queued or running already, as {holder}"))
        error.id = task_id
        return error
