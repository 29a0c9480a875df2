"""Reads task states from any process: the last one, or each as it is reported.

A task reports its state with ``@celery.task(track=True)``, or with `~framework.progress.steps.progress`.
"""

import time
from collections.abc import Iterator
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import celery

from framework.broker.deadline import Deadline, bounded
from framework.broker.request import request
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
    body = request(app or celery.current_app, partial(_read, task_id=task_id))
    return None if body is None else store.decoded(body)


def _read(channel: Any, task_id: str) -> bytes | None:
    body = store.read(channel, task_id, timeout=bounded(READ_TIMEOUT_SECONDS) or 0.0)
    if body is None:
        channel.close()  # the broker has closed it, and py-amqp has reopened it without confirms
    return body


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
