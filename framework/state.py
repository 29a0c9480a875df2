"""The states of tasks, from any process: the last one, and each as it comes.

A task is told of when it asks for it (``@celery.task(track=True)``) or reports its `~framework.progress.progress`.
"""

from collections.abc import Iterator
from typing import Any

from framework.task_state import FINAL, Progress, State, Step
from framework.watcher import Watcher

__all__ = ["FINAL", "Progress", "State", "Step", "Watcher", "last_state", "watch"]


def last_state(task_id: str, *, app: Any = None) -> State | None:
    """The last state of a task, also an hour after it ended; None where nothing is known of it."""
    raise NotImplementedError


def watch(task_id: str, *, timeout: float | None = None, app: Any = None) -> Iterator[State]:
    """The states of a task: the last one first, then each as it comes; ends with the final one."""
    raise NotImplementedError
