"""The deadline of a call: every step of the call that waits for the broker shares it.

::

    with Deadline.within(9.0) as deadline:
        connect()  # each waits for ``bounded(...)`` seconds at most
        publish()

A deadline holds for the thread that set it. Inside another deadline the earlier one holds, so that a call made of
calls ends in time too. This module imports nothing of the framework, so that the embedded broker may use it.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

__all__ = ["Deadline", "bounded"]


class _Current(threading.local):
    deadline: "Deadline | None" = None


_current = _Current()


class Deadline:
    """A time by which a call has to end.

    Args:
        seconds: How long the call may take.
        clock: The clock to go by; it must never jump.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds

    @property
    def left(self) -> float:
        """The seconds left, never negative."""
        return max(self._end - self._clock(), 0.0)

    @property
    def passed(self) -> bool:
        """Whether no time is left."""
        return self.left <= 0

    @classmethod
    def current(cls) -> "Deadline | None":
        """Return the deadline of this thread's call; None where it has none."""
        return _current.deadline

    @classmethod
    @contextmanager
    def within(cls, seconds: float | None) -> Iterator[Self]:
        """Set a deadline for the block, unless an outer one ends earlier; None sets none but the outer one."""
        outer = _current.deadline
        inner = cls(float("inf") if seconds is None else seconds)
        if outer is not None and outer.left <= inner.left:
            inner = outer  # type: ignore[assignment]
        _current.deadline = inner
        try:
            yield inner
        finally:
            _current.deadline = outer


def bounded(seconds: float | None) -> float | None:
    """Return ``seconds``, or those left to this thread's deadline where they are fewer; None is without limit."""
    deadline = _current.deadline
    if deadline is None or (left := deadline.left) == float("inf"):
        return seconds
    return left if seconds is None else min(seconds, left)
