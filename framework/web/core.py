"""The last and the next states of a task for any web framework, and the check of a socket's origin."""

import json
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kombu.exceptions import OperationalError

from framework.errors import BrokerAway, NoSocket
from framework.progress import State, Watcher, last_state

__all__ = [
    "RETRY_AFTER_SECONDS",
    "SCRIPT",
    "UNKNOWN",
    "LatestState",
    "LiveStates",
    "SocketShares",
    "as_json",
    "may_come_from",
    "public_view",
]


#: The script with the element ``<task-progress>``.
SCRIPT = Path(__file__).with_name("static") / "task-progress.js"

#: The fields that a visitor receives where no state of the task is stored.
UNKNOWN: dict[str, Any] = {"status": "unknown", "final": False}

#: Seconds without a state after which a socket receives `UNKNOWN`.
UNKNOWN_AFTER_SECONDS = 2.0

#: Seconds between two pings on a socket; most proxies close one that is silent for 60.
PING_INTERVAL_SECONDS = 25.0

#: Seconds after which a socket is closed: the page connects again, and its token is checked again.
MAX_SOCKET_SECONDS = 3600.0

#: Sockets in one process, and of one visitor in it; further pages poll.
MAX_SOCKETS, MAX_SOCKETS_PER_VISITOR = 1000, 50

#: Seconds after which a broker that was away is retried.
RETRY_AFTER_SECONDS = 5

# An explicit list: a field that `State` gets later is not published by accident, and the task's name stays internal.
_PUBLIC_FIELDS = ("status", "number", "at", "attempt", "progress", "retry_at", "result", "error", "final")


def public_view(state: State | None) -> dict[str, Any]:
    """Return the fields of a state that a visitor may see, and ``now``: the server's time, for countdowns."""
    fields = (
        UNKNOWN if state is None else {name: value for name, value in state.as_dict().items() if name in _PUBLIC_FIELDS}
    )
    return {**fields, "now": time.time()}


def as_json(fields: Any) -> str:
    """Return JSON that browsers accept: null for NaN and infinity."""
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
    """Return whether a page of ``origin`` may open a socket: a page of this ``host``, or of one of the ``origins``.

    A browser sends the visitor's cookies with every socket, also for a page of another site, and always sends the
    origin of the page. Clients other than browsers send no origin, and have no cookies of other people.
    """
    if origin is None or origin in origins:
        return True
    with suppress(ValueError):  # not a URL
        return urlsplit(origin).netloc.lower() == host.lower() != ""
    return False


class SocketShares:
    """Counts the sockets of a process and of each visitor.

    Args:
        most: how many may be open.
        most_of_visitor: how many of one visitor may be open.
    """

    def __init__(self, most: int = MAX_SOCKETS, most_of_visitor: int = MAX_SOCKETS_PER_VISITOR) -> None:
        self._most = most
        self._most_of_visitor = most_of_visitor
        self._open: Counter[str] = Counter()

    def take(self, visitor: str) -> None:
        """Count one more socket of a visitor.

        Raises:
            NoSocket: as many as may be are open.
        """
        if self._open.total() >= self._most:
            raise NoSocket.above(self._most)
        if self._open[visitor] >= self._most_of_visitor:
            raise NoSocket.of_visitor(self._most_of_visitor)
        self._open[visitor] += 1

    def release(self, visitor: str) -> None:
        """Count one socket of a visitor less."""
        self._open[visitor] -= 1
        if not self._open[visitor]:
            del self._open[visitor]

    def clear(self) -> None:
        """Count none, as a fork that has no sockets."""
        self._open.clear()


class LatestState:
    """Holds the latest state of a task until it is taken: a slow reader misses some states, but never the final one."""

    def __init__(self, notify: Callable[[], object]) -> None:
        self._notify = notify
        self._latest: deque[State] = deque(maxlen=1)
        self.close: Callable[[], None] = lambda: None

    def put(self, state: State) -> None:
        """Replace the state and notify the reader; called in the watcher's thread."""
        self._latest.append(state)
        self._notify()

    def take(self) -> State | None:
        """Return the latest state and remove it; None where none has come since the last call."""
        try:
            return self._latest.popleft()
        except IndexError:
            return None


class LiveStates:
    """The states of tasks for all visitors of this process, over one connection to the broker.

    Args:
        app: the Celery application; the framework's own where none is given.
    """

    def __init__(self, app: Any = None) -> None:
        self._app = app
        self._watcher: Watcher | None = None
        self._away_until: float | None = None
        self._retry_lock = threading.Lock()

    @property
    def app(self) -> Any:
        """The Celery application."""
        if self._app is None:
            # Imported late: an application factory must not read the settings when it is imported.
            from framework.celery.celery import celery

            self._app = celery
        return self._app

    def last(self, task_id: str) -> State | None:
        """Return the last state of a task; None where none is stored.

        While the broker is away, one thread at a time retries it, and the others raise at once.

        Raises:
            kombu.exceptions.OperationalError: the broker cannot be reached.
        """
        if self._away_until is None:
            return self._read(task_id)
        if time.monotonic() < self._away_until or not self._retry_lock.acquire(blocking=False):
            raise BrokerAway.for_now(RETRY_AFTER_SECONDS)
        try:
            return self._read(task_id)
        finally:
            self._retry_lock.release()

    def _read(self, task_id: str) -> State | None:
        try:
            state = last_state(task_id, app=self.app)
        except OperationalError:
            self._away_until = time.monotonic() + RETRY_AFTER_SECONDS
            raise
        self._away_until = None
        return state

    def watch(self, task_id: str, notify: Callable[[], object]) -> LatestState:
        """Return the latest state of a task, which is updated and calls ``notify`` from another thread for each state.

        Its ``close()`` ends that.
        """
        if self._watcher is None:
            self._watcher = Watcher(self.app)
        latest = LatestState(notify)
        latest.close = self._watcher.subscribe(task_id, latest.put)
        return latest

    def close(self) -> None:
        """Close the connection; no state is delivered afterwards."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.close()
