"""Errors of watching tasks."""

from typing import Self

from framework.errors.base import FrameworkError, message


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
