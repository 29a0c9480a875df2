"""The runs of this process: each task that is told of, from its start to its end, through Celery's signals."""

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any, Protocol

from celery import signals
from celery._state import _task_stack  # type: ignore[attr-defined]
from celery.exceptions import Reject, SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError
from celery.states import IGNORED
from kombu.utils.encoding import safe_repr

from framework.broker import last_value
from framework.errors import FrameworkError
from framework.task_state import FINAL, Progress, State, Status, Step
from framework.telling import Line, encoded, teller_of

__all__ = [
    "Run",
    "current",
    "for_user",
    "listen",
    "note_reason",
    "tell_given_up",
    "tell_not_queued",
    "tell_queued",
    "tell_retry",
]

#: Seconds that a call and the end of a task wait until that was told.
CALL, END = 1.0, 2.0

#: Characters of the result that is told, as JSON; of a larger one nothing is.
LARGEST_RESULT = 64 * 1024

#: Characters of an error that are told.
LONGEST_ERROR = 500

# The parts of a state's number: a retry comes after all of its first run, another delivery of a run after all of that
# one, and the last state of a delivery after its others. Clocks of several servers have no part in it.
_RETRY, _DELIVERY = 2**32, 2**24
_LAST = _DELIVERY - 1

# Failures that the worker's main process tells of, which knows nothing of what its pool's process has told.
OUTSIDE = (TimeLimitExceeded, WorkerLostError, Reject)

_runs: dict[str, "Run"] = {}
_reasons: dict[str, BaseException] = {}


class Part(Protocol):
    """A step of a task, as far as it is now."""

    def step(self, now: float) -> Step:
        """What is done of it."""


class Run:
    """One run of a task in this process, and the steps it is in."""

    def __init__(self, app: Any, request: Any, name: str) -> None:
        self.id: str = request.id
        self.parts: list[Part] = []
        #: Steps that are over, and shown until another one begins.
        self.ended: list[Part] = []
        #: Something was done that the thread has not seen; a loop that counts by itself never says so.
        self.news = False
        self.counting = 0
        #: The task had ended before it ran again: whatever comes now, nobody is told.
        self.muted = False
        self._name = name
        self._attempt = int(request.retries or 0) + 1
        deliveries = _deliveries(request)
        self._again = deliveries > 0 or self._attempt > 1
        self._base = (self._attempt - 1) * _RETRY + min(deliveries, _RETRY // _DELIVERY - 1) * _DELIVERY
        self._numbers = count(self._base + 1)
        self._told: Progress | None = None
        self._teller = teller_of(app)

    def start(self) -> None:
        """Tell that it runs, and from now on how far it is."""
        self._teller.tell(partial(self._open, state=self._state("started")), keep=True)
        self._teller.follow(self)

    def end(self, status: Status, **fields: Any) -> None:
        """Tell the last that will ever be told of the task."""
        self._teller.unfollow(self)
        self._last(status, _conclude, fields)

    def retry(self, at: float | None, error: str | None) -> None:
        """Tell that this run is over and there will be another."""
        self._teller.unfollow(self)
        self._last("retry", _publish, {"retry_at": at, "error": error})

    def leave(self) -> None:
        """Tell nothing more."""
        self._teller.unfollow(self)

    def look(self) -> None:
        """Have the thread ask how far it is."""
        self.news = True
        self._teller.wake()

    def changed(self) -> bool:
        """Whether there may be something new to tell."""
        return self.news or self.counting > 0

    def progress(self) -> State | None:
        """How far it is, where that is new."""
        self.news = False
        found = self.now()
        if found is None or found == self._told or self.muted:
            return None
        self._told = found
        return self._state("progress", progress=found)

    def now(self) -> Progress | None:
        """How far it is; None where it has no steps."""
        now = time.monotonic()
        parts = [*self.parts]
        return Progress(tuple(part.step(now) for part in parts)) if parts else None

    def _state(self, status: Status, number: int | None = None, **fields: Any) -> State:
        number = next(self._numbers) if number is None else number
        return State(self.id, self._name, status, number, time.time(), self._attempt, **fields)

    def _last(self, status: Status, how: "Callable[[Line, State], None]", fields: dict[str, Any]) -> None:
        state = self._state(status, self._base + _LAST, progress=self.now(), **fields)

        def tell(line: Line) -> None:
            if not self.muted:
                how(line, state)

        self._teller.tell(tell, keep=True, wait=END)

    def _open(self, line: Line, state: State) -> None:
        if self._again and (last := line.look(self.id)) is not None and last.final:
            self.muted = True
            return
        if line.exists(self.id) or line.make(self.id):
            last_value.attach(line.channel, self.id)
        _publish(line, state)


def current() -> Run | None:
    """The run that the caller is part of; None outside of a task that a worker runs."""
    for task in reversed(_task_stack.stack):
        request = task.request
        if request.called_directly:
            continue  # a function that the running task called
        return None if request.is_eager else _runs.get(request.id) or _begin(task, request)
    return None


def listen() -> None:
    """Follow every task of this process that asks for it, from its start to its end."""
    signals.task_prerun.connect(_on_prerun, weak=False, dispatch_uid="framework.runs")
    signals.task_success.connect(_on_success, weak=False, dispatch_uid="framework.runs")
    signals.task_failure.connect(_on_failure, weak=False, dispatch_uid="framework.runs")
    signals.task_revoked.connect(_on_revoked, weak=False, dispatch_uid="framework.runs")
    signals.task_postrun.connect(_on_postrun, weak=False, dispatch_uid="framework.runs")


def tell_queued(app: Any, task_id: str, name: str, at: float | None) -> None:
    """Tell that a task was called and waits for a worker, or for its time; returns when that is told, or cannot be."""
    state = State(task_id, name, "queued", 0, time.time(), retry_at=at)

    def tell(line: Line) -> None:
        if line.make(task_id):
            last_value.put(line.channel, task_id, encoded(state))

    teller_of(app).tell(tell, keep=False, wait=CALL)


def tell_not_queued(app: Any, task_id: str) -> None:
    """The call failed: nothing is known of the task."""
    teller_of(app).tell(lambda line: last_value.forget(line.channel, task_id), keep=False)


def tell_retry(app: Any, task_id: str, name: str, at: float | None, *, tracked: bool) -> None:
    """Tell that a task is about to be tried again, at a time."""
    reason = _reasons.pop(task_id, None)
    error = for_user(reason) if reason else None
    if task_id in _runs:
        _runs[task_id].retry(at, error)
    elif tracked:
        _tell_from_outside(app, task_id, name, "retry", error, retry_at=at, tracked=True)


def tell_given_up(task: Any, task_id: str) -> None:
    """Tell that the broker will not have a task run again: whatever ran it ended each time."""
    _end_from_outside(task, task_id, "failure", "What was running it ended unexpectedly each time.")


def note_reason(task_id: str | None, reason: BaseException | None) -> None:
    """Remember why a task asks to be tried again, for when that is told."""
    reason = reason or sys.exc_info()[1]
    if task_id is not None and task_id in _runs and reason is not None:
        _reasons[task_id] = reason


def for_user(exc: BaseException, expected: tuple[type[BaseException], ...] = ()) -> str:
    """What to say of an error to the one who waits for the task.

    The text of an error of ours, or of one that its task says to expect (``throws``), was written to be read. Any
    other may name hosts, tables and secrets: of it, its kind is told.
    """
    if isinstance(exc, FrameworkError):
        return exc.message[:LONGEST_ERROR]
    if isinstance(exc, SoftTimeLimitExceeded | TimeLimitExceeded):
        return "It took too long and was stopped."
    if isinstance(exc, WorkerLostError):
        return "What was running it ended unexpectedly."
    if isinstance(exc, Reject):
        return "It was rejected."
    if isinstance(exc, expected):
        with suppress(Exception):  # whoever wrote its __str__ is to blame
            return str(exc)[:LONGEST_ERROR]
    return f"Something went wrong ({getattr(exc, 'exc_cls_name', type(exc).__name__)})."


def _begin(task: Any, request: Any) -> Run:
    listen()  # a task that reports its progress is told of from there on
    run = _runs[request.id] = Run(task.app, request, request.task or task.name)
    run.start()
    return run


def _on_prerun(task: Any, **_: Any) -> None:
    request = task.request
    if getattr(task, "track", False) and not request.called_directly and not request.is_eager:
        _begin(task, request)


def _on_success(sender: Any, result: Any, **_: Any) -> None:
    if (run := _runs.pop(sender.request.id, None)) is not None:
        run.end("success", result=_told(result))


def _on_failure(sender: Any, task_id: str, exception: BaseException, **_: Any) -> None:
    run = _runs.pop(task_id, None)
    if isinstance(exception, MemoryError):  # what ran it is ended for that, and the task runs again
        return
    error = for_user(exception, tuple(sender.throws or ()))
    if run is not None:
        run.end("failure", error=error)
    elif isinstance(exception, OUTSIDE) and not _runs_again(sender, exception):
        _end_from_outside(sender, task_id, "failure", error)


def _runs_again(task: Any, exc: BaseException) -> bool:
    return isinstance(exc, TimeLimitExceeded) and task.acks_late and not task.acks_on_timeout


def _on_revoked(sender: Any, request: Any, expired: bool, **_: Any) -> None:
    error = "It was not started in time." if expired else "It was called off."
    _end_from_outside(sender, request.id, "revoked", error)


def _on_postrun(task_id: str, state: str | None, **_: Any) -> None:
    _reasons.pop(task_id, None)
    run = _runs.pop(task_id, None)
    if run is not None and state == IGNORED:
        run.end("revoked", error="It was called off.")
    elif run is not None:  # it is tried again, or was rejected: the worker knows what becomes of it
        run.leave()


def _end_from_outside(task: Any, task_id: str, status: Status, error: str) -> None:
    tracked = bool(getattr(task, "track", False))
    _tell_from_outside(task.app, task_id, task.name, status, error, tracked=tracked)


def _tell_from_outside(
    app: Any,
    task_id: str,
    name: str,
    status: Status,
    error: str | None,
    *,
    retry_at: float | None = None,
    tracked: bool,
) -> None:
    """Tell what became of a task by one who knows no more of it than its last state."""

    def tell(line: Line) -> None:
        last = line.look(task_id)
        if (last is None and not tracked) or (last is not None and last.final):
            return
        state = State(
            task_id,
            name,
            status,
            last.number + 1 if last else _LAST,
            time.time(),
            last.attempt if last else 1,
            progress=last.progress if last else None,
            retry_at=retry_at,
            error=error,
        )
        (_conclude if status in FINAL else _publish)(line, state)

    teller_of(app).tell(tell, keep=True, wait=CALL)


def _publish(line: Line, state: State) -> None:
    last_value.publish(line.channel, state.id, encoded(state))


def _conclude(line: Line, state: State) -> None:
    last = line.look(state.id)
    if last is not None and last.final:  # the task ran twice at a time: what it came to first stays
        return
    if last is not None or line.exists(state.id) or line.make(state.id):
        last_value.conclude(line.channel, state.id, encoded(state))
    else:
        _publish(line, state)


def _deliveries(request: Any) -> int:
    """How often a task's message was delivered before, as far as its queue counts."""
    counted = vars(request).get("x-delivery-count")
    return int(counted) if counted else int(bool((request.delivery_info or {}).get("redelivered")))


def _told(result: Any) -> Any:
    """A result as JSON has it; None where it is too large, its description where JSON has no word for it."""
    try:
        text = json.dumps(result, default=str, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = json.dumps(safe_repr(result))
    return json.loads(text) if len(text) <= LARGEST_RESULT else None
