"""Watches tasks: one connection and one thread, however many are watched."""

import json
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

import celery
from amqp.exceptions import AMQPError
from celery.utils.log import get_logger
from kombu.exceptions import OperationalError

from framework.errors import describe
from framework.progress import store
from framework.progress.state import State

__all__ = ["Watcher"]


log = get_logger(__name__)

#: Seconds until a broker that vanished without a word is noticed, twice over.
HEARTBEAT_SECONDS = 10

#: Seconds between looks at a connection on which nothing happens.
IDLE_SECONDS = 0.5

#: Seconds until a value is looked at again that somebody else was looking at, and after which there is none.
RETRY_DELAY_SECONDS, READ_TIMEOUT_SECONDS = 0.01, 5.0

#: Seconds between two tries to reach a broker that is away, at first and at most.
RECONNECT_DELAY_SECONDS, LONGEST_RECONNECT_DELAY_SECONDS = 0.2, 2.0


class Watcher:
    """The states of many tasks, over one connection to the broker, in one thread; both begin with the first task.

    A broker that is away is waited for. What was told meanwhile is not lost: the last states are read again then.
    """

    def __init__(self, app: Any = None) -> None:
        self._app = app or celery.current_app
        self._lock = threading.Lock()
        self._start_anew()

    def _start_anew(self) -> None:
        self._pid = os.getpid()
        self._orders: deque[tuple[bool, _Subscription]] = deque()
        self._watched: dict[str, list[_Subscription]] = {}
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._bell, self._button = socket.socketpair()
        self._bell.setblocking(False)
        self._button.setblocking(False)

    def subscribe(self, task_id: str, callback: Callable[[State], None]) -> Callable[[], None]:
        """Call ``callback`` with the last state of a task, then with each as it comes; returns what ends that.

        It is called in the watcher's thread, for one state at a time in their order, with the final one last. It is to
        be quick: others wait for it.

        Raises:
            RuntimeError: the watcher is closed.
        """
        subscription = _Subscription(task_id, callback)
        self._order(subscription, wanted=True)

        def end() -> None:
            subscription.ended = True
            with suppress(RuntimeError):
                self._order(subscription, wanted=False)

        return end

    def close(self) -> None:
        """End the thread and the connection; nobody is called afterwards."""
        with self._lock:
            self._closed.set()
            thread, self._thread = self._thread, None
            self._ring()
        if thread is not None and thread is not threading.current_thread():
            thread.join(IDLE_SECONDS * 10)
        self._bell.close()
        self._button.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _order(self, subscription: "_Subscription", *, wanted: bool) -> None:
        with self._lock:
            if self._pid != os.getpid():  # neither the thread nor its connection came along into this fork
                self._start_anew()
            if self._closed.is_set():
                raise RuntimeError("The watcher is closed.")
            self._orders.append((wanted, subscription))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="task watcher", daemon=True)
                self._thread.start()
            self._ring()

    def _ring(self) -> None:
        with suppress(OSError):  # full, so it rings already; or closed
            self._button.send(b"!")

    def _work(self) -> None:
        pause = RECONNECT_DELAY_SECONDS
        while not self._closed.is_set():
            began = time.monotonic()
            try:
                with _WatchConnection(self._app, self._bell) as link:
                    self._serve(link)
            except Exception as exc:
                log.debug("Tasks cannot be watched now, the broker is tried again: %s", describe(exc))
            pause = (
                RECONNECT_DELAY_SECONDS
                if time.monotonic() - began > LONGEST_RECONNECT_DELAY_SECONDS
                else min(pause * 2, LONGEST_RECONNECT_DELAY_SECONDS)
            )
            self._closed.wait(pause)

    def _serve(self, link: "_WatchConnection") -> None:
        link.receive(self._pass_on)
        for task_id in self._watched:
            link.add(task_id)
        while not self._closed.is_set():
            self._take_orders(link)
            for state in link.last_states():
                self._pass_on(state)
            link.wait()

    def _take_orders(self, link: "_WatchConnection") -> None:
        while self._orders:
            wanted, subscription = self._orders.popleft()
            task_id = subscription.task_id
            others = self._watched.get(task_id, [])
            if wanted:
                self._watched[task_id] = [*others, subscription]
                link.add(task_id)
            elif subscription in others:
                left = [other for other in others if other is not subscription]
                self._watched[task_id] = left
                if not left:
                    del self._watched[task_id]
                    link.remove(task_id)

    def _pass_on(self, state: State) -> None:
        for subscription in self._watched.get(state.id, ()):
            subscription.take(state)


class _Subscription:
    """One who watches a task, and what he has seen."""

    def __init__(self, task_id: str, callback: Callable[[State], None]) -> None:
        self.task_id = task_id
        self.ended = False
        self._callback = callback
        self._seen: State | None = None

    def take(self, state: State) -> None:
        """Call back, where it is news."""
        if self.ended or not state.follows(self._seen):
            return
        self._seen = state
        try:
            self._callback(state)
        except Exception:
            log.exception("What watches task %s raised an error", self.task_id)


class _WatchConnection:
    """The connection of the watcher's thread, inside ``with``."""

    def __init__(self, app: Any, bell: socket.socket) -> None:
        self._connection = app.connection_for_write(heartbeat=HEARTBEAT_SECONDS)
        self._bell = bell
        self._selector = selectors.DefaultSelector()
        self._to_read: dict[str, tuple[float, float]] = {}
        self._bound: set[str] = set()
        self._next_beat = 0.0

    def __enter__(self) -> Self:
        try:
            self._connection.connect()
            self._channel = self._connection.channel()
            self._looks = self._connection.channel()
            store.ready(self._channel)
            self._queue = store.listen(self._channel)
            self._selector.register(self._bell, selectors.EVENT_READ)
            # The transport knows what its event loop would have to watch: that is all that is wanted of it.
            self._connection.register_with_event_loop(self)
        except BaseException:
            self._connection.collect()
            self._selector.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with suppress(AMQPError, OSError, OperationalError):
            self._connection.collect() if kind else self._connection.close()
        self._selector.close()

    def add_reader(self, file: Any, *_: Any) -> None:
        """Called by the transport with what becomes readable."""
        self._selector.register(file, selectors.EVENT_READ)

    def remove_reader(self, file: Any) -> None:
        """Called by the transport when that ends."""
        with suppress(KeyError, ValueError):
            self._selector.unregister(file)

    def call_later(self, *_: Any) -> None:
        """Called by the transport; `wait` looks often enough."""

    def receive(self, pass_on: Callable[[State], None]) -> None:
        """Have each new state passed on, while `wait` waits."""

        def take(message: Any) -> None:
            pass_on(State.from_dict(json.loads(message.body)))

        self._channel.basic_consume(self._queue, no_ack=True, callback=take)

    def add(self, task_id: str) -> None:
        """Receive the states of a task from now on, and have the last one read."""
        if task_id not in self._bound:
            store.add(self._channel, self._queue, task_id)
            self._bound.add(task_id)
        now = time.monotonic()
        self._to_read[task_id] = (now, now + READ_TIMEOUT_SECONDS)

    def remove(self, task_id: str) -> None:
        """Receive them no more."""
        self._to_read.pop(task_id, None)
        self._bound.discard(task_id)
        store.remove(self._channel, self._queue, task_id)

    def last_states(self) -> list[State]:
        """The last states of the tasks that were added and are known."""
        now = time.monotonic()
        found = []
        for task_id in [task_id for task_id, (due, _) in self._to_read.items() if due <= now]:
            _, end = self._to_read.pop(task_id)
            try:
                body = store.look(self._looks, task_id)
            except store.ValueInUse:
                if now < end:
                    self._to_read[task_id] = (now + RETRY_DELAY_SECONDS, end)
                continue
            if body is not None:
                found.append(State.from_dict(json.loads(body)))
        return found

    def wait(self) -> None:
        """Hand over what has come; then sleep until there is more to do."""
        with suppress(TimeoutError):
            while True:  # what was read into memory already makes no file readable
                self._connection.drain_events(timeout=0)
        if self._connection.supports_heartbeats and time.monotonic() > self._next_beat:
            self._connection.heartbeat_check()
            self._next_beat = time.monotonic() + 1
        ready = self._selector.select(RETRY_DELAY_SECONDS if self._to_read else IDLE_SECONDS)
        if any(key.fileobj is self._bell for key, _ in ready):
            with suppress(BlockingIOError):
                self._bell.recv(4096)
