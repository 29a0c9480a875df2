"""Errors of watching tasks."""

from typing import Self

from framework.errors.base import FrameworkError


class NoStateReported(FrameworkError):
    """Nothing is known of a task that was to be watched."""

    @classmethod
    def of(cls, task_id: str, seconds: float) -> Self:
        """Name the task and how long it was waited for."""
        return cls(
            f"Nothing was heard of the task {task_id!r} within {seconds:g} s. Is that its id? A task is told of when "
            "it says track=True or reports its progress, and for a while after its end (task_state_expires)."
        )
