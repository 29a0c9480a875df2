"""Tasks watched from anywhere: one connection and one thread, however many are watched."""

from collections.abc import Callable
from typing import Any, Self

from framework.task_state import State

__all__ = ["Watcher"]


class Watcher:
    """The states of many tasks, over one connection to the broker, in one thread."""

    def __init__(self, app: Any = None) -> None:
        raise NotImplementedError

    def subscribe(self, task_id: str, callback: Callable[[State], None]) -> Callable[[], None]:
        """Call ``callback`` with the last state of a task, then with each as it comes; returns what ends that."""
        raise NotImplementedError

    def close(self) -> None:
        """End the thread and the connection."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
