"""Errors of progress, and of watching tasks."""

from typing import Self

from framework.errors.base import FrameworkError, message


class BadProgress(FrameworkError, TypeError):
    """A value cannot be the number that a step of progress needs."""

    @classmethod
    def of(cls, what: str, value: object) -> Self:
        """Say what should be a number, and of which type it is."""
        fix = "Give it a number: an int, a float, or an object that float() converts."
        return cls(message(f"The {what} of a step of progress cannot be a {type(value).__name__}", fix=fix))


class NoStateReported(FrameworkError):
    """A task that was to be watched has reported no state."""

    @classmethod
    def of(cls, task_id: str, seconds: float) -> Self:
        """Name the task and how long it was waited for."""
        return cls(
            message(
                f"Nothing was heard of the task {task_id!r} within {seconds:g} s",
                fix="Is that its id? A task reports its state when it says track=True or reports its progress, and for "
                "a while after its end (task_state_expires).",
            )
        )
