"""A run of a task: its steps, the numbers of its states, and the states that it publishes."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any, Protocol

from celery.exceptions import Reject, SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError
from celery.utils.log import get_logger
from kombu.utils.encoding import safe_repr

from framework.errors import FrameworkError, describe
from framework.progress import store
from framework.progress.publisher import publisher_for
from framework.progress.state import Progress, State, Status, Step
from framework.progress.store import StateStore, encoded

__all__ = ["Run", "finalize_state", "public_error", "publish_state", "result_as_json"]


log = get_logger(__name__)

#: Seconds that a call and the end of a task wait until the state is published.
CALL_TIMEOUT_SECONDS, END_TIMEOUT_SECONDS = 1.0, 2.0

#: Characters of the largest result, as JSON, that a state contains; a larger one is left out.
MAX_RESULT_CHARACTERS = 64 * 1024

#: Characters of an error that a state contains.
MAX_ERROR_CHARACTERS = 500

# A state's number orders the states of a task without comparing the clocks of several servers: first by retry, then by
# delivery, then within one delivery, whose last state has the highest number.
_RETRY, _DELIVERY = 2**32, 2**24
LAST_NUMBER = _DELIVERY - 1


class StepSource(Protocol):
    """A step that is running or finished."""

    def step(self, now: float) -> Step:
        """Return its progress at ``now``, in seconds of the monotonic clock."""


class Run:
    """A run of a task in this process, and the steps that it is in."""

    def __init__(self, app: Any, request: Any, name: str) -> None:
        self.id: str = request.id
        self.steps: list[StepSource] = []
        #: The finished step, which stays in ``steps`` until another one begins.
        self.finished: list[StepSource] = []
        #: Whether a step changed since the last poll; loops do not set it.
        self.dirty = False
        #: Loops that are running: they count their items without setting ``dirty``.
        self.active_loops = 0
        #: The task ended before it ran again: this run publishes nothing.
        self.ended_before = False
        #: The run is over, and another process reports how the task ends.
        self.stopped = False
        self._stored = False
        self._name = name
        self._attempt = int(request.retries or 0) + 1
        deliveries = _deliveries(request)
        self._ran_before = deliveries > 0 or self._attempt > 1
        self._base = (self._attempt - 1) * _RETRY + min(deliveries, _RETRY // _DELIVERY - 1) * _DELIVERY
        self._numbers = count(self._base + 1)
        self._published: Progress | None = None
        self._publisher = publisher_for(app)

    def start(self) -> None:
        """Publish that the task runs, and its progress from now on."""
        self._publisher.publish(partial(self._publish_start, state=self._state("started")), retry=True)
        self._publisher.follow(self)

    def end(self, status: Status, **fields: Any) -> None:
        """Publish the final state of the task."""
        self._publisher.unfollow(self)
        self._publish_last(status, finalize_state, fields)

    def retry(self, at: float | None, error: str | None) -> None:
        """Publish that this run is over and the task will run again."""
        self._publisher.unfollow(self)
        self._publish_last("retry", publish_state, {"retry_at": at, "error": error})

    def stop(self) -> None:
        """Publish nothing more of this run: another process reports how the task ends.

        States on their way are waited for, since they would replace the final one; after two seconds they are dropped.
        """
        self._publisher.unfollow(self)
        self._publisher.publish(lambda _states: None, retry=False, timeout=END_TIMEOUT_SECONDS)
        self.stopped = True

    def mark_dirty(self) -> None:
        """Wake the publisher: a step has changed."""
        self.dirty = True
        self._publisher.wake()

    def has_changed(self) -> bool:
        """Return whether the progress may have changed since it was last published."""
        return self.dirty or self.active_loops > 0

    def next_state(self) -> State | None:
        """Return the current progress as a state; None where it is the one that was last published."""
        self.dirty = False
        progress = self.progress()
        if progress is None or progress == self._published or self.ended_before:
            return None
        self._published = progress
        return self._state("progress", progress=progress)

    def renew(self, states: StateStore) -> None:
        """Restart the expiry of the stored state, which the broker would delete while the task runs."""
        self._stored = self._stored and states.exists(self.id)

    def progress(self) -> Progress | None:
        """Return the current progress; None where the run has no steps."""
        now = time.monotonic()
        steps = [*self.steps]
        return Progress(tuple(each.step(now) for each in steps)) if steps else None

    def _state(self, status: Status, number: int | None = None, **fields: Any) -> State:
        number = next(self._numbers) if number is None else number
        return State(self.id, self._name, status, number, time.time(), self._attempt, **fields)

    def _publish_last(
        self, status: Status, publish: "Callable[[StateStore, State], None]", fields: dict[str, Any]
    ) -> None:
        state = self._state(status, self._base + LAST_NUMBER, progress=self._last_progress(), **fields)

        def send(states: StateStore) -> None:
            if not self.ended_before:
                publish(states, state)

        self._publisher.publish(send, retry=True, timeout=END_TIMEOUT_SECONDS)

    def _last_progress(self) -> Progress | None:
        """Return the current progress; None where it cannot be read: the end of the task is reported without it."""
        try:
            return self.progress()
        except Exception as exc:  # an iterable of the project may raise anything
            log.warning("The last progress of task %s cannot be reported: %s", self.id, describe(exc))
            return None

    def _publish_start(self, states: StateStore, state: State) -> None:
        if self.stopped:
            return
        if self._ran_before and (last := states.last_state(self.id)) is not None and last.final:
            self.ended_before = True
            return
        if states.exists(self.id) or states.reserve(self.id):
            store.bind(states.channel, self.id)
            self._stored = True
        publish_state(states, state)


def public_error(exc: BaseException, expected: tuple[type[BaseException], ...] = ()) -> str:
    """Return the text of an error for the user who waits for the task.

    Errors of the framework, and those that the task lists in ``throws``, have a text for users. Any other error may
    contain hosts, tables and secrets: only its class is named.
    """
    if isinstance(exc, FrameworkError):
        return exc.message[:MAX_ERROR_CHARACTERS]
    if isinstance(exc, SoftTimeLimitExceeded | TimeLimitExceeded):
        return "It took too long and was stopped."
    if isinstance(exc, WorkerLostError):
        return "What was running it ended unexpectedly."
    if isinstance(exc, Reject):
        return "It was rejected."
    if isinstance(exc, expected):
        with suppress(Exception):  # __str__ of a class in the project may raise
            return str(exc)[:MAX_ERROR_CHARACTERS]
    return f"Something went wrong ({getattr(exc, 'exc_cls_name', type(exc).__name__)})."


def publish_state(states: StateStore, state: State) -> None:
    """Publish a state that is not the final one."""
    store.publish(states.channel, state.id, encoded(state))


def finalize_state(states: StateStore, state: State) -> None:
    """Publish the final state of a task, unless another run of the task has ended before."""
    last = states.last_state(state.id)
    if last is not None and last.final:
        return
    if last is not None or states.exists(state.id) or states.reserve(state.id):
        store.finalize(states.channel, state.id, encoded(state))
    else:
        publish_state(states, state)


def _deliveries(request: Any) -> int:
    """Return how often the message was delivered before; 1 for any number where the queue does not count."""
    counted = vars(request).get("x-delivery-count")
    return int(counted) if counted else int(bool((request.delivery_info or {}).get("redelivered")))


def result_as_json(result: Any) -> Any:
    """Return a result as JSON values: None where it is too large, its ``repr`` where it cannot be converted."""
    try:
        text = json.dumps(result, default=str, ensure_ascii=False)
    except Exception:  # __str__ of a class in the project may raise anything
        text = json.dumps(safe_repr(result))
    return json.loads(text) if len(text) <= MAX_RESULT_CHARACTERS else None
