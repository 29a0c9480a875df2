"""Task states from any process: the last one, or each as it is reported.

A task reports its state with ``@celery.task(track=True)``, or with `~framework.progress.steps.progress`.
"""

import json
import time
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import Any

import celery

from framework.errors import TookTooLong
from framework.progress import store
from framework.progress.state import State
from framework.progress.watcher import Watcher

__all__ = ["last_state", "watch"]


#: Seconds that a last state is looked for which others are looking at, or which is on its way.
READ_TIMEOUT_SECONDS = 2.0


def last_state(task_id: str, *, app: Any = None) -> State | None:
    """The last state of a task, also an hour after it ended; None where nothing is known of it.

    Raises:
        kombu.exceptions.OperationalError: the broker cannot be reached.
    """
    with (app or celery.current_app).connection_or_acquire() as connection:
        # A connection that was kept for long may have been lost long ago.
        read = connection.ensure(connection, lambda: _read(connection, task_id), max_retries=1, interval_start=0)
        body = read()
    return None if body is None else State.from_dict(json.loads(body))


def _read(connection: Any, task_id: str) -> bytes | None:
    if not connection.connected:
        connection.connect()
    with connection.channel() as channel:
        return store.read(channel, task_id, timeout=READ_TIMEOUT_SECONDS)


def watch(task_id: str, *, timeout: float | None = None, app: Any = None) -> Iterator[State]:
    """The states of a task: the last one first, then each as it comes; ends with the final one.

    A task that nothing is known of is waited for, since it may be called yet.

    Args:
        task_id: which task.
        timeout: seconds until it has to be over; None waits for ever.
        app: the application; Celery's current one where none is given.

    Raises:
        TookTooLong: it was not over in time.
        kombu.exceptions.OperationalError: the broker cannot be reached; one that goes away later is waited for.
    """
    last = last_state(task_id, app=app)
    if last is not None and last.final:
        yield last
        return
    states: SimpleQueue[State] = SimpleQueue()
    deadline = None if timeout is None else time.monotonic() + timeout
    with Watcher(app) as watcher:
        watcher.subscribe(task_id, states.put)
        while last is None or not last.final:
            try:
                last = states.get(timeout=None if deadline is None else max(deadline - time.monotonic(), 0.0))
            except Empty:
                raise TookTooLong.named(f"Task {task_id}", timeout or 0.0, last.status if last else "unknown") from None
            yield last
