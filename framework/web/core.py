"""What every web framework needs to show a task: its last state, its next ones, and who may see them."""

import json
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kombu.exceptions import OperationalError

from framework.errors import BrokerAway
from framework.progress import State, Watcher, last_state

__all__ = ["LATER", "SCRIPT", "UNKNOWN", "LiveStates", "Newest", "as_json", "may_come_from", "shown"]


#: The script with the element ``<task-progress>``.
SCRIPT = Path(__file__).with_name("static") / "task-progress.js"

#: What is shown of a task that nothing is known of, yet or any longer.
UNKNOWN: dict[str, Any] = {"status": "unknown", "final": False}

#: Seconds after which a socket on which nothing came is told that nothing is known.
UNKNOWN_AFTER = 2.0

#: Seconds between two signs of life on a socket; most proxies cut one that is silent for 60.
BEAT = 25.0

#: Seconds that a socket lasts: then the page connects again, and its token is looked at again.
LIFETIME = 3600.0

#: Seconds after which a broker that was away is tried again.
LATER = 5

# Named one by one, so that what a state comes to hold later is not shown by itself. The task's name is our own affair.
_SHOWN = ("status", "number", "at", "attempt", "progress", "retry_at", "result", "error", "final")


def shown(state: State | None) -> dict[str, Any]:
    """What a visitor is shown of a task, as JSON has it; ``now`` is the server's time, since theirs may be wrong."""
    fields = UNKNOWN if state is None else {name: value for name, value in state.as_dict().items() if name in _SHOWN}
    return {**fields, "now": time.time()}


def as_json(fields: Any) -> str:
    """JSON that browsers read: in theirs there is no infinity, and nothing that is not a number."""
    try:
        return json.dumps(fields, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(_finite(fields), allow_nan=False, separators=(",", ":"))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def may_come_from(origin: str | None, host: str, origins: Collection[str] = ()) -> bool:
    """Whether a socket may be opened by a page of ``origin``: one of this host, or of the ``origins`` given.

    Browsers send the cookies of a visitor with every socket, whoever's page opens it, and always say whose it is.
    What is no browser says nothing, and has no cookies of anybody's.
    """
    if origin is None or origin in origins:
        return True
    with suppress(ValueError):  # what is no address
        return urlsplit(origin).netloc.lower() == host.lower() != ""
    return False


class Newest:
    """The newest state of a task, until it is taken: who reads slowly misses some, and never the final one."""

    def __init__(self, ring: Callable[[], object]) -> None:
        self._ring = ring
        self._newest: deque[State] = deque(maxlen=1)
        self.close: Callable[[], None] = lambda: None

    def put(self, state: State) -> None:
        """Replace what was not taken yet, and ring; called in the watcher's thread."""
        self._newest.append(state)
        self._ring()

    def take(self) -> State | None:
        """The newest state; None where there is no other than before."""
        try:
            return self._newest.popleft()
        except IndexError:
            return None


class LiveStates:
    """The states of tasks for all who watch in this process: one connection to the broker, however many they are.

    Args:
        app: the Celery application; the framework's own where none is given.
    """

    def __init__(self, app: Any = None) -> None:
        self._app = app
        self._watcher: Watcher | None = None
        self._away_until: float | None = None
        self._trying = threading.Lock()

    @property
    def app(self) -> Any:
        """The Celery application."""
        if self._app is None:
            # Only now: whoever makes an application factory does not mean to read the settings yet.
            from framework.celery.celery import celery

            self._app = celery
        return self._app

    def last(self, task_id: str) -> State | None:
        """The last state of a task; None where nothing is known.

        While the broker is away, one thread at a time finds that out, and the others are told at once.

        Raises:
            kombu.exceptions.OperationalError: the broker cannot be reached.
        """
        if self._away_until is None:
            return self._look(task_id)
        if time.monotonic() < self._away_until or not self._trying.acquire(blocking=False):
            raise BrokerAway.for_now(LATER)
        try:
            return self._look(task_id)
        finally:
            self._trying.release()

    def _look(self, task_id: str) -> State | None:
        try:
            state = last_state(task_id, app=self.app)
        except OperationalError:
            self._away_until = time.monotonic() + LATER
            raise
        self._away_until = None
        return state

    def watch(self, task_id: str, ring: Callable[[], object]) -> Newest:
        """The states of a task from now on, the last one first; ``ring`` is called from another thread for each.

        ``close()`` of what is returned ends it.
        """
        if self._watcher is None:
            self._watcher = Watcher(self.app)
        newest = Newest(ring)
        newest.close = self._watcher.subscribe(task_id, newest.put)
        return newest

    def close(self) -> None:
        """End the connection; nobody is told of anything afterwards."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.close()
