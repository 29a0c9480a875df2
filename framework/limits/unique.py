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
from typing import Any, Literal, NamedTuple

from amqp.exceptions import NotFound, PreconditionFailed
from kombu.utils.json import dumps

from framework.broker.deadline import bounded
from framework.broker.request import request
from framework.errors import BadKey, BadLimit
from framework.limits import tokens
from framework.limits.key import digest, normalize, value_of
from framework.limits.owner import warn_if_ignored
from framework.limits.tokens import Outcome

__all__ = ["Unique"]


#: Seconds to wait for the record of the holder: its process writes it right after it acquired the lock, and another
#: process that reads it holds it for some milliseconds.
HOLDER_TIMEOUT_SECONDS = 5.0

#: Attempts to read the holder that is to be marked as queued.
MARK_ATTEMPTS = 5

#: The first byte of a record: its task is being called, or the broker has its message.
CALLED, QUEUED = b"?", b"!"

#: Seconds of the longest life of a lock: a fortnight.
LONGEST_LOCK_SECONDS = 14 * 86400.0


@dataclass(frozen=True)
class Unique:
    """At most one of a task is queued or running for each key.

    A task keeps to it where its application is a `framework.celery.app.App`; plain Celery's ignores it, with a warning.

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
        if not 1 <= self.expires <= LONGEST_LOCK_SECONDS:
            raise BadLimit.of_unique(f"expires is {self.expires!r}, and must be 1 s to 14 days")
        if not (self.key is None or callable(self.key) or (isinstance(self.key, str) and self.key.isidentifier())):
            raise BadLimit.of_unique(f"key is {self.key!r}, and must be an argument's name or a function")

    def __set_name__(self, owner: type, name: str) -> None:
        """Warn where it is an option of a task that ignores it."""
        warn_if_ignored(owner, name)


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


class Holder(NamedTuple):
    """The task that holds a lock; ``queued`` once the broker has its message, ``id`` is empty while it is not known."""

    id: str
    queued: bool


def acquire(app: Any, lock: str, task_id: str, expires: float) -> Holder | None:
    """Acquire a lock for a task; return None, or the task that holds it: another one, or this one from an earlier call.

    Raises:
        BrokerUnreachable: the broker does not answer.
    """
    end = time.monotonic() + (bounded(HOLDER_TIMEOUT_SECONDS) or 0.0)
    while True:
        if request(app, partial(_acquire, lock=lock, task_id=task_id, expires=expires)):
            return None
        holder = _holder(app, lock)
        if holder is not None or time.monotonic() > end:
            return holder or Holder("", queued=False)
        _wait_for_readers()


def mark_queued(app: Any, lock: str, task_id: str) -> None:
    """Record that the broker has the message of the task that holds a lock: from now on a call with its id is another.

    Raises:
        BrokerUnreachable: the broker does not answer.
    """
    with suppress(NotFound):  # the task has ended already
        for _ in range(MARK_ATTEMPTS):
            if request(app, partial(_mark_queued, lock=lock, task_id=task_id)):
                return
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
    """Acquire the token, and record its holder right after: until then other callers cannot know the id."""
    outcome = first = tokens.acquire(channel, lock)
    if first is Outcome.MISSING:
        _declare(channel, lock, expires)
        outcome = tokens.acquire(channel, lock)
    if outcome is not Outcome.ACQUIRED:
        return False
    while not tokens.put_record(channel, _holder_queue(lock), _record(task_id, queued=False)):
        _declare(channel, lock, expires)  # the last holder is just deleting its record
    if first is Outcome.ACQUIRED:
        _declare(channel, lock, expires)  # restarts the expiry of the queues, which an earlier holder left
    return True


def _declare(channel: Any, lock: str, expires: float) -> None:
    tokens.declare(channel, lock, 1, expires, expires + 60)
    tokens.declare_records(channel, _holder_queue(lock), 1, expires + 60)


def _holder(app: Any, lock: str) -> Holder | None:
    """Return the task that holds a lock; None where it cannot be read right now."""
    try:
        record = request(app, partial(tokens.read_oldest, name=_holder_queue(lock)))
    except NotFound:
        return None
    return record and _holder_in(record.body)


def _mark_queued(channel: Any, lock: str, task_id: str) -> bool:
    """Replace the record of a task; return False where it cannot be read right now."""
    record = tokens.take_oldest(channel, _holder_queue(lock))
    if record is None:
        return False
    if _holder_in(record.body) == (task_id, False):
        # The new one first: a process that dies in between leaves one too many, and the older one is dropped.
        tokens.put_record(channel, _holder_queue(lock), _record(task_id, queued=True))
        channel.basic_ack(record.tag)
    else:
        channel.basic_reject(record.tag, requeue=True)
    return True


def _release(channel: Any, lock: str, task_id: str) -> bool | None:
    """Delete a lock before its record, so that another process can finish where this one dies in between.

    Return False where another task holds it, None where the record cannot be read right now.
    """
    record = tokens.take_oldest(channel, _holder_queue(lock))
    if record is None:
        return None
    if _holder_in(record.body).id != task_id:
        channel.basic_reject(record.tag, requeue=True)
        return False
    tokens.delete(channel, lock)
    channel.basic_ack(record.tag)
    return True


def _wait_for_readers() -> None:
    """Wait while other processes read the holder; for a random time, so that they do not collide again."""
    time.sleep(random.uniform(0.002, 0.03))


def _record(task_id: str, *, queued: bool) -> bytes:
    return (QUEUED if queued else CALLED) + task_id.encode()


def _holder_in(body: bytes) -> Holder:
    return Holder(body[1:].decode(), body[:1] == QUEUED)


def _holder_queue(lock: str) -> str:
    return f"{lock}.id"
