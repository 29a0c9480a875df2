"""One run of a task: its steps, its numbers, and what is reported of it."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any, Protocol

from celery.exceptions import Reject, SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError
from kombu.utils.encoding import safe_repr

from framework.errors import FrameworkError
from framework.progress import store
from framework.progress.publisher import publisher_for
from framework.progress.state import Progress, State, Status, Step
from framework.progress.store import StateStore, encoded

__all__ = ["Run", "public_error"]


#: Seconds that a call and the end of a task wait until that was told.
CALL_TIMEOUT_SECONDS, END_TIMEOUT_SECONDS = 1.0, 2.0

#: Characters of the result that is told, as JSON; of a larger one nothing is.
LARGEST_RESULT = 64 * 1024

#: Characters of an error that are told.
LONGEST_ERROR = 500

# The parts of a state's number: a retry comes after all of its first run, another delivery of a run after all of that
# one, and the last state of a delivery after its others. Clocks of several servers have no part in it.
_RETRY, _DELIVERY = 2**32, 2**24
LAST_NUMBER = _DELIVERY - 1


class StepSource(Protocol):
    """A step of a task, as far as it is now."""

    def step(self, now: float) -> Step:
        """What is done of it."""


class Run:
    """One run of a task in this process, and the steps it is in."""

    def __init__(self, app: Any, request: Any, name: str) -> None:
        self.id: str = request.id
        self.parts: list[StepSource] = []
        #: Steps that are over, and shown until another one begins.
        self.ended: list[StepSource] = []
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
        self._teller = publisher_for(app)

    def start(self) -> None:
        """Tell that it runs, and from now on how far it is."""
        self._teller.tell(partial(self._open, state=self._state("started")), keep=True)
        self._teller.follow(self)

    def end(self, status: Status, **fields: Any) -> None:
        """Tell the last that will ever be told of the task."""
        self._teller.unfollow(self)
        self._last(status, conclude_state, fields)

    def retry(self, at: float | None, error: str | None) -> None:
        """Tell that this run is over and there will be another."""
        self._teller.unfollow(self)
        self._last("retry", publish_state, {"retry_at": at, "error": error})

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

    def _last(self, status: Status, how: "Callable[[StateStore, State], None]", fields: dict[str, Any]) -> None:
        state = self._state(status, self._base + LAST_NUMBER, progress=self.now(), **fields)

        def tell(line: StateStore) -> None:
            if not self.muted:
                how(line, state)

        self._teller.tell(tell, keep=True, wait=END_TIMEOUT_SECONDS)

    def _open(self, line: StateStore, state: State) -> None:
        if self._again and (last := line.look(self.id)) is not None and last.final:
            self.muted = True
            return
        if line.exists(self.id) or line.make(self.id):
            store.attach(line.channel, self.id)
        publish_state(line, state)


def public_error(exc: BaseException, expected: tuple[type[BaseException], ...] = ()) -> str:
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


def publish_state(line: StateStore, state: State) -> None:
    store.publish(line.channel, state.id, encoded(state))


def conclude_state(line: StateStore, state: State) -> None:
    last = line.look(state.id)
    if last is not None and last.final:  # the task ran twice at a time: what it came to first stays
        return
    if last is not None or line.exists(state.id) or line.make(state.id):
        store.conclude(line.channel, state.id, encoded(state))
    else:
        publish_state(line, state)


def _deliveries(request: Any) -> int:
    """How often a task's message was delivered before, as far as its queue counts."""
    counted = vars(request).get("x-delivery-count")
    return int(counted) if counted else int(bool((request.delivery_info or {}).get("redelivered")))


def _result_as_json(result: Any) -> Any:
    """A result as JSON has it; None where it is too large, its description where JSON has no word for it."""
    try:
        text = json.dumps(result, default=str, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = json.dumps(safe_repr(result))
    return json.loads(text) if len(text) <= LARGEST_RESULT else None
