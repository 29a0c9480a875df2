"""The progress of a task, reported by its loops: ``for row in progress(rows, "reading"):``."""

import operator
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, compress, repeat
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from framework.progress import run, signals
from framework.progress.state import Step

__all__ = ["Steps", "progress"]


T = TypeVar("T")

#: How many changes back the rate is measured from.
RATE_WINDOW = 100

# Iterators of Python's own that know exactly how many items are left.
_CONTAINERS: tuple[Iterable[Any], ...] = (
    *((), [], range(0), range(2**64), "", "é", b"", bytearray()),
    *({}, {}.values(), {}.items(), set(), deque(), reversed([]), reversed({})),
)
_EXACT = frozenset(type(iter(container)) for container in _CONTAINERS)
_ENDLESS = 2**62


def progress(iterable: Iterable[T] = (), name: str = "", *, total: float | None = None) -> "Steps[T]":
    """A step of the task that run: a loop over ``iterable``, or what is advanced by hand inside ``with``.

    ::

        for row in progress(rows, "reading"):
            ...

        with progress(total=size, name="uploading") as step:
            for block in blocks:
                step.advance(len(block))

    A step within a step is shown inside it. Whoever watches the task sees each within a fifth of a second.

    Args:
        iterable: what to go through.
        name: what the step is called.
        total: how many there are, where the iterable does not know it.
    """
    return Steps(iterable, name, total)


class Steps(Generic[T]):
    """One step of a task, made by ``progress``."""

    def __init__(self, iterable: Iterable[T], name: str, total: float | None) -> None:
        self._iterable = iterable
        self._name = name
        self._total = total
        self._message = ""
        self._done: float = 0
        self._handed_out: Callable[[], int] | None = None
        self._run: run.Run | None = None
        self._pace = RateMeter()

    def __iter__(self) -> Iterator[T]:
        """The items; each is done when the next one is asked for."""
        self._run = self._run or signals.current_run()
        if self._run is None:
            return iter(self._iterable)
        if self._total is None:
            self._total = _length(self._iterable)
        self._done = 0
        items, self._handed_out = counted(self._iterable)
        self._enter(self._run)
        self._run.counting += 1
        return chain(items, _End(self))

    def __enter__(self) -> Self:
        """Begin a step that is advanced by hand."""
        self._run = signals.current_run()
        if self._run is not None:
            self._enter(self._run)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it, wherever it is."""
        if self._run is not None:
            self._leave(self._run)

    @property
    def done(self) -> float:
        """How much of it is done; the item that a loop is at is not."""
        handed_out = self._handed_out
        return self._done if handed_out is None else self._done + max(handed_out() - 1, 0)

    def advance(self, amount: float = 1) -> None:
        """So much more is done."""
        self._done += amount
        self._changed()

    def set(self, done: float, total: float | None = None) -> None:
        """So much is done, of the ``total`` where that is given."""
        self._done = done
        self._total = self._total if total is None else total
        self._changed()

    def message(self, text: str) -> None:
        """Say what is going on, to the one who waits; the last one counts."""
        self._message = str(text)
        self._changed()

    def step(self, now: float) -> Step:
        """How far it is, for the thread that tells of it."""
        done = self.done
        rate = self._pace.rate(now, done)
        left = None if self._total is None or not rate else max(self._total - done, 0.0) / rate
        return Step(self._name, done, self._total, self._message, _rounded(rate), _rounded(left))

    def finish(self, *, exhausted: bool) -> None:
        """Called at the end of a loop: it went through all, or was left before."""
        if self._handed_out is None or self._run is None:
            return
        self._done += self._handed_out() if exhausted else max(self._handed_out() - 1, 0)
        self._handed_out = None
        self._run.counting -= 1
        self._leave(self._run)

    def _changed(self) -> None:
        run = self._run
        if run is not None and not run.news:
            run.look()

    def _enter(self, run: run.Run) -> None:
        if run.ended:  # the step before, shown until another begins
            run.ended.clear()
            run.parts.clear()
        if self in run.parts:
            return
        run.parts.append(self)
        self._changed()

    def _leave(self, run: run.Run) -> None:
        if self not in run.parts:
            return
        place = run.parts.index(self)
        # The outermost stays to be seen as it ended: not itself, which may hold a million rows.
        run.ended[:] = [] if place else [FinishedStep(self.step(time.monotonic()))]
        run.parts[place:] = run.ended
        self._changed()


class FinishedStep:
    """A step that is over."""

    def __init__(self, step: Step) -> None:
        self._step = step

    def step(self, _now: float) -> Step:
        """How far it came."""
        return self._step


class RateMeter:
    """How fast something goes: over the last changes, few of a slow one and many of a fast one."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque([(time.monotonic(), 0.0)], RATE_WINDOW)

    def rate(self, now: float, done: float) -> float | None:
        """How much is done in a second, as far as it can be told."""
        since, before = self._seen[0]
        if done != self._seen[-1][1]:
            self._seen.append((now, done))
        return (done - before) / (now - since) if done > before and now > since else None


class _End:
    """Comes after the last item: reached, the loop went through all; dropped before, it was left."""

    def __init__(self, steps: Steps[Any]) -> None:
        self._steps = steps

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        self._steps.finish(exhausted=True)
        raise StopIteration

    def __del__(self) -> None:
        self._steps.finish(exhausted=False)


def counted(iterable: Iterable[T]) -> tuple[Iterator[T], Callable[[], int]]:
    """An iterator, and how many items it has handed out; neither costs a call of Python's for an item."""
    items = iter(iterable)
    if isinstance(iterable, list):  # it may grow meanwhile
        return items, lambda: len(iterable) - operator.length_hint(items)
    if type(items) in _EXACT:
        first = operator.length_hint(items)
        return items, lambda: first - operator.length_hint(items)
    turns = repeat(True, _ENDLESS)
    return compress(items, turns), lambda: _ENDLESS - operator.length_hint(turns)


def _length(iterable: Iterable[Any]) -> int | None:
    try:
        return len(iterable)  # type: ignore[arg-type]
    except TypeError:
        found = operator.length_hint(iterable, -1)
        return None if found < 0 else found


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else float(f"{seconds:.3g}")
