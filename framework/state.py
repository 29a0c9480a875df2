"""The states of tasks, from any process: the last one, and each as it comes.

A task is told of when it asks for it (``@celery.task(track=True)``) or reports its `~framework.progress.progress`.
"""

import json
import time
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import Any

import celery

from framework.broker import last_value
from framework.errors import TookTooLong
from framework.task_state import FINAL, Progress, State, Step
from framework.watcher import Watcher

__all__ = ["FINAL", "Progress", "State", "Step", "Watcher", "last_state", "watch"]

#: Seconds that a last state is looked for which others are looking at, or which is on its way.
PATIENCE = 2.0


def last_state(task_id: str, *, app: Any = None) -> State | None:
    """The last state of a task, also an hour after it ended; None where nothing is known of it.

    Raises:
        kombu.exceptions.OperationalError: the broker cannot be reached.
    """
    with (app or celery.current_app).connection_or_acquire() as connection:
        # A connection that was kept for long may have been lost long ago.
        look = connection.ensure(connection, lambda: _look(connection, task_id), max_retries=1, interval_start=0)
        body = look()
    return None if body is None else State.from_dict(json.loads(body))


def _look(connection: Any, task_id: str) -> bytes | None:
    deadline = time.monotonic() + PATIENCE
    if not connection.connected:
        connection.connect()
    with connection.channel() as channel:
        while True:
            try:
                return last_value.look(channel, task_id)
            except last_value.ValueInUse:
                if time.monotonic() > deadline:
                    return None
                time.sleep(0.005)


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
