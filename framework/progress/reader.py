"""Reads task states from any process: the last one, or each as it is reported.

A task reports its state with ``@celery.task(track=True)``, or with `~framework.progress.steps.progress`.
"""

import json
import time
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import Any

import celery

from framework.broker.connection import acquired
from framework.broker.deadline import Deadline
from framework.broker.request import within_call
from framework.errors import TookTooLong
from framework.progress import store
from framework.progress.state import State
from framework.progress.watcher import Watcher

__all__ = ["last_state", "watch"]


#: Seconds that reading a last state is retried while another reader holds it, or it has not arrived yet.
READ_TIMEOUT_SECONDS = 2.0


def last_state(task_id: str, *, app: Any = None) -> State | None:
    """Return the last state of a task, also an hour after it ended; None where none is stored.

    Raises:
        BrokerUnreachable: the broker does not answer within ``task_publish_timeout``.
    """
    app = app or celery.current_app
    with within_call(app), acquired(app.pool) as connection:
        # A pooled connection may have been lost long ago.
        read = connection.ensure(connection, lambda: _read(connection, task_id), max_retries=1, interval_start=0)
        body = read()
    return None if body is None else State.from_dict(json.loads(body))


def _read(connection: Any, task_id: str) -> bytes | None:
    if not connection.connected:
        connection.connect()
    with connection.channel() as channel:
        return store.read(channel, task_id, timeout=READ_TIMEOUT_SECONDS)


def watch(task_id: str, *, timeout: float | None = None, app: Any = None) -> Iterator[State]:
    """Yield the states of a task: the last one first, then each as it comes, up to the final one.

    Where no state is stored, wait for the first: the task may not have been called yet.

    Args:
        task_id: the task's id.
        timeout: seconds until the task must have ended; None waits for ever.
        app: the application; Celery's current one where none is given.

    Raises:
        TookTooLong: the task has not ended in time.
        BrokerUnreachable: the broker does not answer at the start; a later loss is retried.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    with Deadline.within(timeout):
        last = last_state(task_id, app=app)
    if last is not None and last.final:
        yield last
        return
    states: SimpleQueue[State] = SimpleQueue()
    with Watcher(app) as watcher:
        watcher.subscribe(task_id, states.put)
        while last is None or not last.final:
            try:
                last = states.get(timeout=None if deadline is None else max(deadline - time.monotonic(), 0.0))
            except Empty:
                raise TookTooLong.named(f"Task {task_id}", timeout or 0.0, last.status if last else "unknown") from None
            yield last
