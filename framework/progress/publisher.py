"""Publishes task states from a background thread, over a connection of its own.

Neither a slow nor a lost broker delays a task: its states wait here until they can be sent, and of the progress only
the latest is sent. One thread and one connection are enough for a process; both start with the first state.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from amqp.exceptions import AMQPError, ChannelError
from celery.utils.log import get_logger
from kombu.exceptions import OperationalError

from framework.celery import compat
from framework.errors import describe
from framework.progress import store
from framework.progress.state import State
from framework.progress.store import TIMEOUT_SECONDS, StateStore, encoded

__all__ = ["StatePublisher", "StateSource", "close_publisher", "publisher_for"]


log = get_logger(__name__)

#: Seconds between two updates of a task's progress.
INTERVAL_SECONDS = 0.2

#: Seconds without a state to publish after which the connection is closed.
IDLE_SECONDS = 20.0

#: Seconds between two attempts to reach a broker that is away, at first and at most.
RECONNECT_DELAY_SECONDS, MAX_RECONNECT_DELAY_SECONDS = 0.2, 2.0

#: Jobs that wait for a broker that is away before the oldest is dropped.
MAX_WAITING_JOBS = 1000

#: Attempts to publish a state that the broker refuses or that raises another error; the first may have met a channel
#: that was closed.
MAX_ATTEMPTS = 2

#: Errors of a broker that is away: a state is published once it is back.
AWAY = (AMQPError, OperationalError, OSError)


class StateSource(Protocol):
    """A running task whose progress is polled."""

    def has_changed(self) -> bool:
        """Return whether the task may have a new state."""

    def next_state(self) -> State | None:
        """Return the state to publish now; None where it is the same as before."""

    def renew(self, states: StateStore) -> None:
        """Restart the expiry of the stored state."""


@dataclass(eq=False)
class Job:
    """States to publish: the function that publishes them, and whether it is retried when the broker was away."""

    send: "Callable[[StateStore], None]"
    retry: bool
    done: threading.Event = field(default_factory=threading.Event)
    refusals: int = 0
    published: bool = False


class StatePublisher:
    """The thread that publishes the states of one application's tasks."""

    def __init__(self, app: Any) -> None:
        self._store = StateStore(app)
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._sources: list[StateSource] = []
        self._thread: threading.Thread | None = None
        self._closing = False
        self._next_update = 0.0
        self._next_renewal = 0.0
        self._away_until = 0.0
        self._reconnect_delay = RECONNECT_DELAY_SECONDS

    def publish(self, send: "Callable[[StateStore], None]", *, retry: bool, timeout: float = 0.0) -> bool:
        """Call ``send`` in the thread; return whether it has published within ``timeout`` seconds.

        Where the broker is away, the call is repeated once it is back if ``retry`` is set, and dropped otherwise.
        """
        job = Job(send, retry)
        with self._changed:
            if not retry and time.monotonic() < self._away_until:
                return False
            self._start()
            self._jobs.append(job)
            if len(self._jobs) > MAX_WAITING_JOBS:
                self._jobs.popleft().done.set()
            self._changed.notify()
        return timeout > 0 and job.done.wait(timeout) and job.published

    def follow(self, source: StateSource) -> None:
        """Publish the states of ``source``: the first at once, then those of each interval."""
        with self._changed:
            self._start()
            if not self._sources:
                self._next_renewal = time.monotonic() + self._store.renewal_seconds
            self._sources.append(source)
            self._next_update = 0.0
            self._changed.notify()

    def wake(self) -> None:
        """Poll the sources again as soon as the interval allows."""
        with self._changed:
            self._changed.notify()

    def unfollow(self, source: StateSource) -> None:
        """Stop polling ``source``."""
        with self._changed:
            if source in self._sources:
                self._sources.remove(source)

    def close(self) -> None:
        """End the thread after it has published what can be sent at once."""
        with self._changed:
            self._closing = True
            thread, self._thread = self._thread, None
            self._changed.notify()
        if thread is not None:
            thread.join(TIMEOUT_SECONDS)

    def _start(self) -> None:
        if self._thread is None and not self._closing:
            self._thread = threading.Thread(target=self._run, name="task states", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            job, sources = self._next()
            if job is not None:
                self._do(job)
            elif sources:
                self._update(sources)
            elif self._closing:
                break
            else:
                self._store.close()
        self._store.close()

    def _next(self) -> tuple[Job | None, list[StateSource]]:
        """Wait for the next job, or for sources to poll; return neither after `IDLE_SECONDS`, or at the end."""
        with self._changed:
            while not self._closing:
                now = time.monotonic()
                ready_at = self._away_until
                self._queue_renewal(now)
                if self._jobs and (now >= ready_at or not self._jobs[0].retry):
                    return self._jobs.popleft(), []
                changed = [source for source in self._sources if source.has_changed()]
                if changed:
                    ready_at = max(ready_at, self._next_update)
                    if now >= ready_at and not self._jobs:
                        self._next_update = now + INTERVAL_SECONDS
                        return None, changed
                waiting = bool(changed or self._jobs)
                seconds = max(ready_at - now, 0.001) if waiting else IDLE_SECONDS
                if self._sources:
                    seconds = min(seconds, max(self._next_renewal - now, 0.001))
                if not self._changed.wait(seconds) and not waiting:
                    return None, []
            return (self._jobs.popleft(), []) if self._jobs and not self._away_until else (None, [])

    def _queue_renewal(self, now: float) -> None:
        """Queue a job that renews the stored states of the sources, where it is time."""
        if not self._sources or now < self._next_renewal:
            return
        self._next_renewal = now + self._store.renewal_seconds
        sources = [*self._sources]

        def renew(states: StateStore) -> None:
            for source in sources:
                source.renew(states)

        self._jobs.append(Job(renew, retry=False))

    def _do(self, job: Job) -> None:
        if self._attempt(job.send, job):
            job.published = True
        elif job.retry and job.refusals < MAX_ATTEMPTS:
            with self._changed:
                self._jobs.appendleft(job)
            return
        job.done.set()

    def _update(self, sources: list[StateSource]) -> None:
        for source in sources:
            try:
                state = source.next_state()
                send = None if state is None else partial(_publish, key=state.id, body=encoded(state))
            except Exception:
                log.exception("The progress of a task cannot be reported; it is not reported any more")
                self.unfollow(source)
                continue
            if send is not None and not self._attempt(send):
                return

    def _attempt(self, send: "Callable[[StateStore], None]", job: Job | None = None) -> bool:
        """Return whether ``send`` has published; where the broker is away, wait before the next attempt."""
        try:
            send(self._store)
        except ChannelError as exc:
            log.debug("The broker refused the state of a task: %s", describe(exc))
            self._store.reset_channel()
            if job is not None:
                job.refusals += 1
            return False
        except Exception as exc:
            # Any error: a connection in an unknown condition is of no use, and a task must not fail because of it.
            level = logging.DEBUG if isinstance(exc, AWAY) else logging.WARNING
            log.log(level, "The state of a task cannot be published now: %s", describe(exc))
            if job is not None and not isinstance(exc, AWAY):
                job.refusals += 1
            self._store.discard_connection()
            self._away_until = time.monotonic() + self._reconnect_delay
            self._reconnect_delay = min(self._reconnect_delay * 2, MAX_RECONNECT_DELAY_SECONDS)
            return False
        self._away_until = 0.0
        self._reconnect_delay = RECONNECT_DELAY_SECONDS
        return True


_publishers: "WeakKeyDictionary[Any, StatePublisher]" = WeakKeyDictionary()
_publishers_lock = threading.Lock()
# A forked process must not close a connection that it inherited: the broker would end the parent's.
_inherited: list[Any] = []


def publisher_for(app: Any) -> StatePublisher:
    """Return the publisher of an application's states in this process."""
    app = compat.real_app(app)
    with _publishers_lock:
        if app not in _publishers:
            _publishers[app] = StatePublisher(app)
        return _publishers[app]


def close_publisher(app: Any) -> None:
    """Close the publisher of an application, if it has one."""
    with _publishers_lock:
        publisher = _publishers.pop(app, None)
    if publisher is not None:
        publisher.close()


def _publish(states: StateStore, key: str, body: bytes) -> None:
    store.publish(states.channel, key, body)


def _after_fork() -> None:
    global _publishers, _publishers_lock
    _inherited.append(_publishers)
    _publishers, _publishers_lock = WeakKeyDictionary(), threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
