"""Publishes task states from a background thread, over a connection of its own.

Neither a slow nor a lost broker delays a task: its states wait here until they can be sent, and of the progress only
the newest is sent. One thread and one connection are enough for a process; both start with the first state.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from amqp.exceptions import ChannelError
from celery.utils.log import get_logger

from framework.celery import compat
from framework.errors import describe
from framework.progress import store
from framework.progress.state import State
from framework.progress.store import TIMEOUT_SECONDS, StateStore, encoded

__all__ = ["Source", "StatePublisher", "close_publisher", "publisher_for"]


log = get_logger(__name__)

#: Seconds between two updates of a task's progress.
INTERVAL_SECONDS = 0.2

#: Seconds without anything to tell after which the connection is closed.
IDLE_SECONDS = 20.0

#: Seconds between two tries to reach a broker that is away, at first and at most.
RECONNECT_DELAY_SECONDS, LONGEST_RECONNECT_DELAY_SECONDS = 0.2, 2.0

#: States that wait for a broker that is away, before the oldest are given up.
BACKLOG = 1000

#: Tries to tell a state that the broker refuses; the first may have met a channel that had been closed.
TRIES = 2


class Source(Protocol):
    """A running task, asked how far it is."""

    def changed(self) -> bool:
        """Whether it might have something new to tell."""

    def progress(self) -> State | None:
        """What to tell now; None when that is nothing new."""


@dataclass(eq=False)
class Job:
    """Something to tell: what is done with the line, and whether it is tried again when the broker was away."""

    tell: "Callable[[StateStore], None]"
    keep: bool
    done: threading.Event = field(default_factory=threading.Event)
    refused: int = 0
    told: bool = False


class StatePublisher:
    """The thread that tells of the tasks of one application."""

    def __init__(self, app: Any) -> None:
        self._line = StateStore(app)
        self._news = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._sources: list[Source] = []
        self._thread: threading.Thread | None = None
        self._closing = False
        self._next_update = 0.0
        self._away_until = 0.0
        self._pause = RECONNECT_DELAY_SECONDS

    def tell(self, job: "Callable[[StateStore], None]", *, keep: bool, wait: float = 0.0) -> bool:
        """Have the thread tell something; whether that is done within ``wait`` seconds.

        Where the broker is away, what is to be kept is told once it is back, and the rest is given up.
        """
        letter = Job(job, keep)
        with self._news:
            if not keep and time.monotonic() < self._away_until:
                return False
            self._start()
            self._jobs.append(letter)
            if len(self._jobs) > BACKLOG:
                self._jobs.popleft().done.set()
            self._news.notify()
        return wait > 0 and letter.done.wait(wait) and letter.told

    def follow(self, source: Source) -> None:
        """Ask ``source`` how far it is, a few times a second and at once."""
        with self._news:
            self._start()
            self._sources.append(source)
            self._next_update = 0.0
            self._news.notify()

    def wake(self) -> None:
        """Ask the sources again, as soon as the interval allows."""
        with self._news:
            self._news.notify()

    def unfollow(self, source: Source) -> None:
        """Ask it no more."""
        with self._news:
            if source in self._sources:
                self._sources.remove(source)

    def close(self) -> None:
        """End the thread, once it told what it can tell at once."""
        with self._news:
            self._closing = True
            thread, self._thread = self._thread, None
            self._news.notify()
        if thread is not None:
            thread.join(TIMEOUT_SECONDS)

    def _start(self) -> None:
        if self._thread is None and not self._closing:
            self._thread = threading.Thread(target=self._work, name="task states", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            job, sources = self._next()
            if job is not None:
                self._do(job)
            elif sources:
                self._update(sources)
            elif self._closing:
                break
            else:
                self._line.close()
        self._line.close()

    def _next(self) -> tuple[Job | None, list[Source]]:
        """What there is to do now: a job, or an update; neither after a long silence, or at the end."""
        with self._news:
            while not self._closing:
                now = time.monotonic()
                ready_at = self._away_until
                if self._jobs and (now >= ready_at or not self._jobs[0].keep):
                    return self._jobs.popleft(), []
                changed = [source for source in self._sources if source.changed()]
                if changed:
                    ready_at = max(ready_at, self._next_update)
                    if now >= ready_at and not self._jobs:
                        self._next_update = now + INTERVAL_SECONDS
                        return None, changed
                waiting = bool(changed or self._jobs)
                if not self._news.wait(max(ready_at - now, 0.001) if waiting else IDLE_SECONDS) and not waiting:
                    return None, []
            return (self._jobs.popleft(), []) if self._jobs and not self._away_until else (None, [])

    def _do(self, job: Job) -> None:
        if self._attempt(job.tell, job):
            job.told = True
        elif job.keep and job.refused < TRIES:
            with self._news:
                self._jobs.appendleft(job)
            return
        job.done.set()

    def _update(self, sources: list[Source]) -> None:
        for source in sources:
            if (state := source.progress()) is None:
                continue
            if not self._attempt(partial(_publish, key=state.id, body=encoded(state))):
                return

    def _attempt(self, tell: "Callable[[StateStore], None]", job: Job | None = None) -> bool:
        """Whether it could be told; where the broker is away, that is remembered for a moment."""
        try:
            tell(self._line)
        except ChannelError as exc:
            log.debug("The broker refused the state of a task: %s", describe(exc))
            self._line.renew()
            if job is not None:
                job.refused += 1
            return False
        except Exception as exc:
            # Whatever it was: a connection in an unknown condition is of no use, and a task is not to suffer from it.
            log.debug("The state of a task cannot be told now: %s", describe(exc))
            self._line.drop()
            self._away_until = time.monotonic() + self._pause
            self._pause = min(self._pause * 2, LONGEST_RECONNECT_DELAY_SECONDS)
            return False
        self._away_until = 0.0
        self._pause = RECONNECT_DELAY_SECONDS
        return True


_tellers: "WeakKeyDictionary[Any, StatePublisher]" = WeakKeyDictionary()
_making = threading.Lock()
# A connection that a forked process inherited must not be closed there: its end would be told to the broker.
_inherited: list[Any] = []


def publisher_for(app: Any) -> StatePublisher:
    """The one that tells of an application's tasks in this process."""
    app = compat.real_app(app)
    with _making:
        if app not in _tellers:
            _tellers[app] = StatePublisher(app)
        return _tellers[app]


def close_publisher(app: Any) -> None:
    """End the thread and the connection, if there are any."""
    with _making:
        teller = _tellers.pop(app, None)
    if teller is not None:
        teller.close()


def _publish(line: StateStore, key: str, body: bytes) -> None:
    store.publish(line.channel, key, body)


def _after_fork() -> None:
    global _tellers, _making
    _inherited.append(_tellers)
    _tellers, _making = WeakKeyDictionary(), threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
