"""Watches any number of tasks over one connection, in one thread."""

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

#: A lost broker is noticed after twice this time.
HEARTBEAT_SECONDS = 10

#: Seconds between two checks of an idle connection.
IDLE_SECONDS = 0.5

#: Seconds between two reads of a state that another reader holds, and after which the reads end.
RETRY_DELAY_SECONDS, READ_TIMEOUT_SECONDS = 0.01, 5.0

#: Seconds between two attempts to reach a broker that is away, at first and at most.
RECONNECT_DELAY_SECONDS, MAX_RECONNECT_DELAY_SECONDS = 0.2, 2.0


class Watcher:
    """Watches the states of many tasks over one broker connection, in one thread; both start with the first task.

    When the broker is away, the watcher reconnects and reads the last states again, so that it misses no final state.
    """

    def __init__(self, app: Any = None) -> None:
        self._app = app or celery.current_app
        self._lock = threading.Lock()
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._requests: deque[tuple[bool, _Subscription]] = deque()
        self._watched: dict[str, list[_Subscription]] = {}
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._wakeup_reader, self._wakeup_writer = socket.socketpair()
        self._wakeup_reader.setblocking(False)
        self._wakeup_writer.setblocking(False)

    def subscribe(self, task_id: str, callback: Callable[[State], None]) -> Callable[[], None]:
        """Call ``callback`` with the last state of a task, then with each as it comes; return a function that ends it.

        The watcher's thread calls it with one state at a time, in their order, the final one last. It must return
        quickly: the callbacks of other tasks wait for it.

        Raises:
            RuntimeError: the watcher is closed.
        """
        subscription = _Subscription(task_id, callback)
        self._request(subscription, wanted=True)

        def end() -> None:
            subscription.ended = True
            with suppress(RuntimeError):
                self._request(subscription, wanted=False)

        return end

    def close(self) -> None:
        """End the thread and the connection; no callback is called afterwards."""
        with self._lock:
            self._closed.set()
            thread, self._thread = self._thread, None
            self._wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join(IDLE_SECONDS * 2)  # longer only where it waits for a broker that does not answer
        self._wakeup_reader.close()
        self._wakeup_writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _request(self, subscription: "_Subscription", *, wanted: bool) -> None:
        with self._lock:
            if self._pid != os.getpid():  # a fork has neither the thread nor its connection
                self._reset()
            if self._closed.is_set():
                raise RuntimeError("The watcher is closed.")
            self._requests.append((wanted, subscription))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="task watcher", daemon=True)
                self._thread.start()
            self._wake()

    def _wake(self) -> None:
        with suppress(OSError):  # the pipe is full, so the thread wakes anyway; or it is closed
            self._wakeup_writer.send(b"!")

    def _run(self) -> None:
        delay = RECONNECT_DELAY_SECONDS
        while not self._closed.is_set():
            started = time.monotonic()
            try:
                with _WatchConnection(self._app, self._wakeup_reader) as connection:
                    self._serve(connection)
            except Exception as exc:
                log.debug("Tasks cannot be watched now, the connection is retried: %s", describe(exc))
            delay = (
                RECONNECT_DELAY_SECONDS
                if time.monotonic() - started > MAX_RECONNECT_DELAY_SECONDS
                else min(delay * 2, MAX_RECONNECT_DELAY_SECONDS)
            )
            self._closed.wait(delay)

    def _serve(self, connection: "_WatchConnection") -> None:
        connection.consume(self._deliver)
        for task_id in self._watched:
            connection.add(task_id)
        while not self._closed.is_set():
            self._process_requests(connection)
            for state in connection.last_states():
                self._deliver(state)
            connection.wait()

    def _process_requests(self, connection: "_WatchConnection") -> None:
        while self._requests:
            wanted, subscription = self._requests.popleft()
            task_id = subscription.task_id
            others = self._watched.get(task_id, [])
            if wanted:
                self._watched[task_id] = [*others, subscription]
                connection.add(task_id)
            elif subscription in others:
                left = [other for other in others if other is not subscription]
                self._watched[task_id] = left
                if not left:
                    del self._watched[task_id]
                    connection.remove(task_id)

    def _deliver(self, state: State) -> None:
        if self._closed.is_set():
            return
        for subscription in self._watched.get(state.id, ()):
            subscription.take(state)


class _Subscription:
    """A callback for the states of a task, and the last state that it received."""

    def __init__(self, task_id: str, callback: Callable[[State], None]) -> None:
        self.task_id = task_id
        self.ended = False
        self._callback = callback
        self._seen: State | None = None

    def take(self, state: State) -> None:
        """Call the callback where the state is newer than the last one."""
        if self.ended or not state.follows(self._seen):
            return
        self._seen = state
        try:
            self._callback(state)
        except Exception:
            log.exception("A callback for the states of task %s raised an error", self.task_id)


class _WatchConnection:
    """The connection of the watcher's thread, inside ``with``."""

    def __init__(self, app: Any, wakeup: socket.socket) -> None:
        self._connection = app.connection_for_write(heartbeat=HEARTBEAT_SECONDS)
        self._wakeup = wakeup
        self._selector = selectors.DefaultSelector()
        self._to_read: dict[str, tuple[float, float]] = {}
        self._bound: set[str] = set()
        self._next_heartbeat = 0.0

    def __enter__(self) -> Self:
        try:
            self._connection.connect()
            self._channel = self._connection.channel()
            self._read_channel = self._connection.channel()
            store.declare_exchange(self._channel)
            self._queue = store.declare_watch_queue(self._channel)
            self._selector.register(self._wakeup, selectors.EVENT_READ)
            # The transport registers its file descriptors with this object as with an event loop.
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
        """Watch a file of the transport, which calls this."""
        self._selector.register(file, selectors.EVENT_READ)

    def remove_reader(self, file: Any) -> None:
        """Stop watching a file of the transport, which calls this."""
        with suppress(KeyError, ValueError):
            self._selector.unregister(file)

    def call_later(self, *_: Any) -> None:
        """Do nothing: the transport calls this, and `wait` returns often enough."""

    def consume(self, deliver: Callable[[State], None]) -> None:
        """Call ``deliver`` with each new state inside `wait`."""

        def take(message: Any) -> None:
            if (state := store.decoded(message.body)) is not None:
                deliver(state)

        self._channel.basic_consume(self._queue, no_ack=True, callback=take)

    def add(self, task_id: str) -> None:
        """Receive the states of a task from now on, and read the last one."""
        if task_id not in self._bound:
            store.bind_watch_queue(self._channel, self._queue, task_id)
            self._bound.add(task_id)
        now = time.monotonic()
        self._to_read[task_id] = (now, now + READ_TIMEOUT_SECONDS)

    def remove(self, task_id: str) -> None:
        """Stop receiving the states of a task."""
        self._to_read.pop(task_id, None)
        self._bound.discard(task_id)
        store.unbind_watch_queue(self._channel, self._queue, task_id)

    def last_states(self) -> list[State]:
        """Return the last states of the tasks that were added since the last call."""
        now = time.monotonic()
        found = []
        for task_id in [task_id for task_id, (due, _) in self._to_read.items() if due <= now]:
            _, deadline = self._to_read.pop(task_id)
            try:
                body = store.peek(self._read_channel, task_id)
            except store.ValueInUse:
                if now < deadline:
                    self._to_read[task_id] = (now + RETRY_DELAY_SECONDS, deadline)
                continue
            if body is not None and (state := store.decoded(body)) is not None:
                found.append(state)
        return found

    def wait(self) -> None:
        """Deliver the states that have arrived, then sleep until there is more to do."""
        with suppress(TimeoutError):
            while True:  # data that the transport has buffered makes no file readable
                self._connection.drain_events(timeout=0)
        if self._connection.supports_heartbeats and time.monotonic() > self._next_heartbeat:
            self._connection.heartbeat_check()
            self._next_heartbeat = time.monotonic() + 1
        ready = self._selector.select(RETRY_DELAY_SECONDS if self._to_read else IDLE_SECONDS)
        if any(key.fileobj is self._wakeup for key, _ in ready):
            with suppress(BlockingIOError):
                self._wakeup.recv(4096)
