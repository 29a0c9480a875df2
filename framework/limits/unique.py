"""Unique tasks: at most one is queued or running for a key, on all servers.

::

    @celery.task(unique=Unique(key="report"))
    def build(report): ...

A second call returns the first one's id, or raises. The lock is a token that the broker keeps, not a process: it
survives retries and killed workers, and is released when the task has ended.
"""

import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from amqp.exceptions import NotFound, PreconditionFailed
from kombu.utils.json import dumps

from framework.broker.deadline import bounded
from framework.broker.request import request
from framework.errors import BadKey, BadLimit
from framework.limits import tokens
from framework.limits.key import digest, normalize, value_of
from framework.limits.tokens import Outcome

__all__ = ["Unique"]


#: Seconds to wait for the record of the holder: its process writes it right after it acquired the lock, and another
#: process that reads it holds it for some milliseconds.
HOLDER_TIMEOUT_SECONDS = 5.0

#: Seconds of the longest life of a lock: a fortnight.
LONGEST_EXPIRY_SECONDS = 14 * 86400.0


@dataclass(frozen=True)
class Unique:
    """At most one of a task is queued or running for each key.

    Args:
        key: the name of an argument, or a function of the mapping of all of them, defaults included; None is all of
            the arguments together.
        duplicate: the effect of a second call: ``existing`` returns the first one's result, with its id, and ``raise``
            raises ``AlreadyQueued``.
        expires: seconds after which the lock is released in any case: longer than the task ever waits in the queue,
            runs and is retried.

    Raises:
        BadLimit: one of them is invalid.
    """

    key: str | Callable[[Mapping[str, Any]], Any] | None = None
    duplicate: Literal["existing", "raise"] = "existing"
    expires: float = 86400.0

    def __post_init__(self) -> None:
        """Check the arguments."""
        if self.duplicate not in ("existing", "raise"):
            raise BadLimit.of_unique(f"duplicate is {self.duplicate!r}, and must be existing or raise")
        if not 1 <= self.expires <= LONGEST_EXPIRY_SECONDS:
            raise BadLimit.of_unique(f"expires is {self.expires!r}, and must be 1 s to 14 days")
        if not (self.key is None or callable(self.key) or (isinstance(self.key, str) and self.key.isidentifier())):
            raise BadLimit.of_unique(f"key is {self.key!r}, and must be an argument's name or a function")


def lock_name(task: Any, unique: Unique, bound: Mapping[str, Any]) -> str:
    """Return the name of the lock for a call of ``task`` with these arguments.

    Raises:
        BadKey: the call has no key for it.
    """
    if unique.key is not None:
        return f"unique.{digest(task.name, normalize(value_of(unique.key, task.name, bound)))}"
    try:
        return f"unique.{digest(task.name, dumps(bound, sort_keys=True))}"
    except TypeError as exc:
        raise BadKey.of(bound, f"its arguments are no JSON ({exc}), so the task needs unique=Unique(key=...)") from None


def acquire(app: Any, lock: str, task_id: str, expires: float) -> str | None:
    """Acquire a lock for a task; return None, or the id of the task that holds it (empty where it is not known yet)."""
    end = time.monotonic() + (bounded(HOLDER_TIMEOUT_SECONDS) or 0.0)
    while True:
        if request(app, partial(_acquire, lock=lock, task_id=task_id, expires=expires)):
            return None
        holder = _holder(app, lock)
        if holder == task_id:
            return None
        if holder or time.monotonic() > end:
            return holder or ""
        _wait_for_readers()


def release(app: Any, lock: str, task_id: str) -> None:
    """Release a lock, if that task holds it."""
    end = time.monotonic() + HOLDER_TIMEOUT_SECONDS
    with suppress(NotFound, PreconditionFailed):  # it was released already; the next holder is recorded already
        while (done := request(app, partial(_release, lock=lock, task_id=task_id))) is None and time.monotonic() < end:
            _wait_for_readers()
        if done is None:  # the record was deleted by hand, or cannot be read; the task's message says who holds it
            request(app, partial(tokens.delete, name=lock))
        request(app, partial(tokens.delete, name=_holder_queue(lock), if_empty=True))


def _acquire(channel: Any, lock: str, task_id: str, expires: float) -> bool:
    outcome = tokens.acquire(channel, lock)
    if outcome is not Outcome.FULL:
        tokens.declare(channel, lock, 1, expires, expires + 60)
    if outcome is Outcome.MISSING:
        outcome = tokens.acquire(channel, lock)
    if outcome is not Outcome.ACQUIRED:
        return False
    tokens.declare_records(channel, _holder_queue(lock), 1, expires + 60)
    while not tokens.put_record(channel, _holder_queue(lock), task_id.encode()):  # the last holder is just deleting it
        tokens.declare_records(channel, _holder_queue(lock), 1, expires + 60)
    return True


def _holder(app: Any, lock: str) -> str | None:
    """Return the id of the task that holds a lock; None where it cannot be read right now."""
    try:
        record = request(app, partial(tokens.read_oldest, name=_holder_queue(lock)))
    except NotFound:
        return None
    return record.body.decode() if record else None


def _release(channel: Any, lock: str, task_id: str) -> bool | None:
    """Delete a lock before its record, so that another process can finish where this one dies in between.

    Return False where another task holds it, None where the record cannot be read right now.
    """
    record = tokens.read_oldest(channel, _holder_queue(lock), keep=False)
    if record is None:
        return None
    if record.body.decode() != task_id:
        channel.basic_reject(record.tag, requeue=True)
        return False
    tokens.delete(channel, lock)
    channel.basic_ack(record.tag)
    return True


def _wait_for_readers() -> None:
    """Wait while other processes read the holder; for a random time, so that they do not collide again."""
    time.sleep(random.uniform(0.002, 0.03))


def _holder_queue(lock: str) -> str:
    return f"{lock}.id"
