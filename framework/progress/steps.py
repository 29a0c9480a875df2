"""Reports the progress of a task from its loops: ``for row in progress(rows, "reading"):``."""

import operator
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, compress, repeat
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from framework.errors import BadProgress
from framework.progress import run, signals
from framework.progress.state import Step, finite

__all__ = ["Steps", "progress"]


T = TypeVar("T")

#: Changes over which the rate is measured.
RATE_WINDOW_CHANGES = 100

# Iterators of the standard library whose length hint is exact.
_CONTAINERS: tuple[Iterable[Any], ...] = (
    *((), [], range(0), range(2**64), "", "é", b"", bytearray()),
    *({}, {}.values(), {}.items(), set(), deque(), reversed([]), reversed({})),
)
_EXACT = frozenset(type(iter(container)) for container in _CONTAINERS)
_ENDLESS = 2**62


def progress(iterable: Iterable[T] = (), name: str = "", *, total: float | None = None) -> "Steps[T]":
    """Report a step of the running task: a loop over ``iterable``, or work that calls ``advance`` inside ``with``.

    ::

        for row in progress(rows, "reading"):
            ...

        with progress(total=size, name="uploading") as step:
            for block in blocks:
                step.advance(len(block))

    A step within a step is displayed inside it. Watchers of the task see a change within a fifth of a second.

    Args:
        iterable: the items of the loop.
        name: the step's name for users.
        total: the number of items, where the iterable has no length; one that is infinite or NaN is unknown.

    Raises:
        framework.errors.BadProgress: the total is no number.
    """
    return Steps(iterable, name, total)


class Steps(Generic[T]):
    """A step of a task, made by ``progress``."""

    def __init__(self, iterable: Iterable[T], name: str, total: float | None) -> None:
        self._iterable = iterable
        self._name = _text(name)
        self._total = _number("total", total)
        self._message = ""
        # What is done besides the loop, and the loop's counter: one attribute, since the publisher reads in its thread.
        self._done: tuple[float, Callable[[], int] | None] = (0, None)
        self._run: run.Run | None = None
        self._rate_meter = RateMeter()

    def __iter__(self) -> Iterator[T]:
        """Iterate over the items; each is done when the next one is requested."""
        self._run = self._run or signals.current_run()
        if self._run is None:
            return iter(self._iterable)
        if self._total is None:
            self._total = _length(self._iterable)
        items, count = counted(self._iterable)
        self._done = (0, count)
        self._enter(self._run)
        self._run.active_loops += 1
        return chain(items, _End(self))

    def __enter__(self) -> Self:
        """Begin the step."""
        self._run = signals.current_run()
        if self._run is not None:
            self._enter(self._run)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the step, however much of it is done."""
        if self._run is not None:
            self._leave(self._run)

    @property
    def done(self) -> float:
        """How much is done, without the current item of a loop."""
        done, count = self._done
        return done if count is None else done + max(count() - 1, 0)

    def advance(self, amount: float = 1) -> None:
        """Add ``amount`` to what is done; one that is infinite or NaN changes nothing.

        Raises:
            framework.errors.BadProgress: the amount is no number.
        """
        done, count = self._done
        after = finite(done + (_number("amount", amount) or 0))
        self._done = (done if after is None else after, count)
        self._changed()

    def set(self, done: float, total: float | None = None) -> None:
        """Set what is done, and the ``total`` where it is given; an infinite number or NaN changes nothing.

        Raises:
            framework.errors.BadProgress: one of them is no number.
        """
        before, count = self._done
        known, known_total = _number("number of items done", done), _number("total", total)
        self._total = self._total if known_total is None else known_total
        self._done = (before if known is None else known, count)
        self._changed()

    def message(self, text: str) -> None:
        """Replace the message for the users who watch the task."""
        self._message = _text(text)
        self._changed()

    def step(self, now: float) -> Step:
        """Return the progress at ``now``, for the publisher's thread."""
        done = self.done
        rate = self._rate_meter.rate(now, done)
        left = None if self._total is None or not rate else max(self._total - done, 0.0) / rate
        return Step(self._name, done, self._total, self._message, _rounded(rate), _rounded(left))

    def finish(self, *, exhausted: bool) -> None:
        """End the loop; ``exhausted`` where it went through all items."""
        done, count = self._done
        if count is None or self._run is None:
            return
        self._done = (done + (count() if exhausted else max(count() - 1, 0)), None)
        self._run.active_loops -= 1
        self._leave(self._run)

    def _changed(self) -> None:
        run = self._run
        if run is not None and not run.dirty:
            run.mark_dirty()

    def _enter(self, run: run.Run) -> None:
        if run.finished:
            run.finished.clear()
            run.steps.clear()
        if self in run.steps:
            return
        run.steps.append(self)
        self._changed()

    def _leave(self, run: run.Run) -> None:
        if self not in run.steps:
            return
        depth = run.steps.index(self)
        # The outermost step stays displayed as it ended: its figures, not the object, which may hold a million rows.
        run.finished[:] = [] if depth else [FinishedStep(self.step(time.monotonic()))]
        run.steps[depth:] = run.finished
        self._changed()


class FinishedStep:
    """A step that has ended."""

    def __init__(self, step: Step) -> None:
        self._step = step

    def step(self, _now: float) -> Step:
        """Return the progress at the step's end."""
        return self._step


class RateMeter:
    """Measures a rate over the last changes: a long time of a slow loop, a short one of a fast loop."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque([(time.monotonic(), 0.0)], RATE_WINDOW_CHANGES)

    def rate(self, now: float, done: float) -> float | None:
        """Return how much is done in a second; None where that is unknown."""
        since, before = self._samples[0]
        if done != self._samples[-1][1]:
            self._samples.append((now, done))
        return (done - before) / (now - since) if done > before and now > since else None


class _End:
    """Follows the last item: reached where the loop went through all items, deleted where it was left before."""

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
    """Return an iterator and a function that counts the items it has yielded; neither runs Python code per item."""
    items = iter(iterable)
    if isinstance(iterable, list):  # it may grow during the loop
        return items, lambda: len(iterable) - operator.length_hint(items)
    if type(items) in _EXACT and _length_hint(items) is not None:
        first = operator.length_hint(items)
        return items, lambda: first - operator.length_hint(items)
    selectors = repeat(True, _ENDLESS)
    return compress(items, selectors), lambda: _ENDLESS - operator.length_hint(selectors)


def _length(iterable: Iterable[Any]) -> int | None:
    try:
        return len(iterable)  # type: ignore[arg-type]
    except (TypeError, OverflowError):  # a range may be longer than len() can say
        return _length_hint(iterable)


def _length_hint(iterable: Iterable[Any]) -> int | None:
    try:
        found = operator.length_hint(iterable, -1)
    except OverflowError:
        return None
    return None if found < 0 else found


def _text(value: object) -> str:
    """Return a value as text that can be encoded: a name of a file may hold bytes that are no characters."""
    return str(value).encode(errors="replace").decode()


def _number(what: str, value: Any) -> float | None:
    """Return a value as a number that JSON has; None where it is None, infinite or NaN."""
    try:
        return finite(value if value is None or type(value) in (int, float) else float(value))
    except OverflowError:
        return None
    except (TypeError, ValueError):
        raise BadProgress.of(what, value) from None


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else finite(float(f"{seconds:.3g}"))
