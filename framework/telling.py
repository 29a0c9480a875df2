"""What is told of tasks goes out in a thread of its own, over a connection of its own.

Neither a slow nor a lost broker holds a task up: its states wait here until they could be sent, and of the progress
only the newest is sent. One thread and one connection are enough for a process; both come with the first state.
"""

import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from amqp.exceptions import AMQPError, ChannelError
from celery.utils.log import get_logger
from kombu.exceptions import OperationalError

from framework.broker import last_value
from framework.config import DEFAULTS
from framework.errors import described
from framework.task_state import State

__all__ = ["Line", "Source", "Teller", "encoded", "stop_telling", "teller_of"]

log = get_logger(__name__)

#: Seconds between two updates of a task's progress.
INTERVAL = 0.2

#: Seconds without anything to tell after which the connection is closed.
IDLE = 20.0

#: Seconds between two tries to reach a broker that is away, at first and at most.
PAUSE, LONGEST_PAUSE = 0.2, 2.0

#: Seconds that the broker may take to answer.
PATIENCE = 3.0

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

    tell: "Callable[[Line], None]"
    keep: bool
    done: threading.Event = field(default_factory=threading.Event)
    refused: int = 0
    told: bool = False


class Line:
    """The connection of the thread, and a channel of it that is always usable."""

    def __init__(self, app: Any) -> None:
        conf = app.conf
        self._app = app
        self._connection: Any = None
        self._channel: Any = None
        self.kept_for = float(conf.get("task_state_expires", DEFAULTS["task_state_expires"]))
        self.most = int(conf.get("task_state_max", DEFAULTS["task_state_max"]))

    @property
    def channel(self) -> Any:
        """A channel on which each publish is confirmed."""
        if self._connection is None:
            self._connect()
        if self._channel is None:
            self._channel = self._connection.channel()
            last_value.ready(self._channel)
        return self._channel

    def _connect(self) -> None:
        limits = {"read_timeout": PATIENCE, "write_timeout": PATIENCE, "confirm_publish": True}
        connection = self._app.connection_for_write(connect_timeout=PATIENCE, transport_options=limits)
        try:
            connection.connect()
        except BaseException:
            connection.collect()
            raise
        self._connection = connection

    def renew(self) -> None:
        """Have another channel: the broker closed this one, and what it was confirming is forgotten."""
        channel, self._channel = self._channel, None
        with suppress(AMQPError, OSError):
            channel.close()

    def drop(self) -> None:
        """Let go of a connection that cannot be used."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            connection.collect()

    def close(self) -> None:
        """End the connection."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with suppress(AMQPError, OSError, OperationalError):
                connection.close()

    def exists(self, key: str) -> bool:
        """Whether a value of ``key`` is kept; it will be for longer then."""
        if last_value.exists(self.channel, key):
            return True
        self.renew()
        return False

    def look(self, key: str) -> State | None:
        """The last state of ``key``; a state that somebody else looks at is waited for, for a moment."""
        deadline = time.monotonic() + 1.0
        while True:
            try:
                body = last_value.look(self.channel, key)
            except last_value.ValueInUse:
                if time.monotonic() > deadline:
                    return None
                time.sleep(0.005)
                continue
            if body is None:
                self.renew()
                return None
            return State.from_dict(json.loads(body))

    def make(self, key: str) -> bool:
        """Make the place where states of ``key`` are kept; False where too many tasks have one."""
        if not last_value.take_place(self.channel, self.most, self.kept_for):
            return False
        last_value.keep(self.channel, key, self.kept_for)
        return True


class Teller:
    """The thread that tells of the tasks of one application."""

    def __init__(self, app: Any) -> None:
        self._line = Line(app)
        self._news = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._sources: list[Source] = []
        self._thread: threading.Thread | None = None
        self._closing = False
        self._next_update = 0.0
        self._away_until = 0.0
        self._pause = PAUSE

    def tell(self, job: "Callable[[Line], None]", *, keep: bool, wait: float = 0.0) -> bool:
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
            thread.join(PATIENCE)

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
                        self._next_update = now + INTERVAL
                        return None, changed
                waiting = bool(changed or self._jobs)
                if not self._news.wait(max(ready_at - now, 0.001) if waiting else IDLE) and not waiting:
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

    def _attempt(self, tell: "Callable[[Line], None]", job: Job | None = None) -> bool:
        """Whether it could be told; where the broker is away, that is remembered for a moment."""
        try:
            tell(self._line)
        except ChannelError as exc:
            log.debug("The broker refused the state of a task: %s", described(exc))
            self._line.renew()
            if job is not None:
                job.refused += 1
            return False
        except Exception as exc:
            # Whatever it was: a connection in an unknown condition is of no use, and a task is not to suffer from it.
            log.debug("The state of a task cannot be told now: %s", described(exc))
            self._line.drop()
            self._away_until = time.monotonic() + self._pause
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
            return False
        self._away_until = 0.0
        self._pause = PAUSE
        return True


_tellers: "WeakKeyDictionary[Any, Teller]" = WeakKeyDictionary()
_making = threading.Lock()
# A connection that a forked process inherited must not be closed there: its end would be told to the broker.
_inherited: list[Any] = []


def teller_of(app: Any) -> Teller:
    """The one that tells of an application's tasks in this process."""
    app = getattr(app, "_get_current_object", lambda: app)()
    with _making:
        if app not in _tellers:
            _tellers[app] = Teller(app)
        return _tellers[app]


def stop_telling(app: Any) -> None:
    """End the thread and the connection, if there are any."""
    with _making:
        teller = _tellers.pop(app, None)
    if teller is not None:
        teller.close()


def _publish(line: Line, key: str, body: bytes) -> None:
    last_value.publish(line.channel, key, body)


def encoded(state: State) -> bytes:
    """A state as it is sent."""
    return json.dumps(state.as_dict(), separators=(",", ":"), ensure_ascii=False).encode(errors="replace")


def _after_fork() -> None:
    global _tellers, _making
    _inherited.append(_tellers)
    _tellers, _making = WeakKeyDictionary(), threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
