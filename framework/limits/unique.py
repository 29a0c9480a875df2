"""Unique tasks: at most one queued or running for a key, whoever calls it from wherever.

::

    @celery.task(unique=Unique(key="report"))
    def build(report): ...

A second call returns the first one's id, or raises. The lock is a slot on the broker, as `framework.limits` has them,
so it hangs on no process: it survives retries and killed workers, and is given back when the task has ended.
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

from framework.broker.request import request
from framework.errors import BadKey, BadLimit
from framework.limits import slots
from framework.limits.key import digest, normalize, value_of
from framework.limits.slots import Outcome

__all__ = ["Unique"]


#: Seconds that a note of the holder is waited for: its process writes it right after it got the lock, and whoever
#: looks at it has it for a moment.
HOLDER_TIMEOUT_SECONDS = 5.0

#: Seconds of the longest life of a lock: a fortnight.
LONGEST_EXPIRY_SECONDS = 14 * 86400.0


@dataclass(frozen=True)
class Unique:
    """At most one of a task is queued or running for each key.

    Args:
        key: the name of an argument, or a function of the mapping of all of them, defaults included; None is all of
            the arguments together.
        duplicate: what becomes of a call while there is one: ``existing`` returns that one's result, with its id, and
            ``raise`` raises ``AlreadyQueued``.
        expires: seconds after which the lock is given back whatever became of the task: longer than it ever waits in
            the queue, runs and is retried.

    Raises:
        BadLimit: one of them is wrong.
    """

    key: str | Callable[[Mapping[str, Any]], Any] | None = None
    duplicate: Literal["existing", "raise"] = "existing"
    expires: float = 86400.0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.duplicate not in ("existing", "raise"):
            raise BadLimit.unique(f"duplicate is {self.duplicate!r}, and must be existing or raise")
        if not 1 <= self.expires <= LONGEST_EXPIRY_SECONDS:
            raise BadLimit.unique(f"expires is {self.expires!r}, and must be 1 s to 14 days")
        if not (self.key is None or callable(self.key) or (isinstance(self.key, str) and self.key.isidentifier())):
            raise BadLimit.unique(f"key is {self.key!r}, and must be an argument's name or a function")


def lock_name(task: Any, unique: Unique, bound: Mapping[str, Any]) -> str:
    """The name of the lock for a call of ``task`` with these arguments.

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
    """Take a lock for a task; None, or the id of the task that has it (empty where that cannot be told yet)."""
    end = time.monotonic() + HOLDER_TIMEOUT_SECONDS
    while True:
        if request(app, partial(_acquire, lock=lock, task_id=task_id, expires=expires)):
            return None
        holder = _holder(app, lock)
        if holder == task_id:
            return None
        if holder or time.monotonic() > end:
            return holder or ""
        _pause()


def release(app: Any, lock: str, task_id: str) -> None:
    """Give a lock back, if that task has it."""
    end = time.monotonic() + HOLDER_TIMEOUT_SECONDS
    with suppress(NotFound, PreconditionFailed):  # it was given back already; the next one's note is there already
        while (done := request(app, partial(_release, lock=lock, task_id=task_id))) is None and time.monotonic() < end:
            _pause()
        if done is None:  # its note was deleted by hand, or is never to be seen; its message says whose it is
            request(app, partial(slots.delete, name=lock))
        request(app, partial(slots.delete, name=_notes(lock), if_empty=True))


def _acquire(channel: Any, lock: str, task_id: str, expires: float) -> bool:
    outcome = slots.acquire(channel, lock)
    if outcome is not Outcome.FULL:
        slots.declare(channel, lock, 1, expires, expires + 60)
    if outcome is Outcome.MISSING:
        outcome = slots.acquire(channel, lock)
    if outcome is not Outcome.TAKEN:
        return False
    slots.declare_notes(channel, _notes(lock), 1, expires + 60)
    while not slots.note(channel, _notes(lock), task_id.encode()):  # the last one's was just being deleted
        slots.declare_notes(channel, _notes(lock), 1, expires + 60)
    return True


def _holder(app: Any, lock: str) -> str | None:
    """The id of the task that has a lock; None where it is not to be seen right now."""
    try:
        note = request(app, partial(slots.look, name=_notes(lock)))
    except NotFound:
        return None
    return note.body.decode() if note else None


def _release(channel: Any, lock: str, task_id: str) -> bool | None:
    """Delete a lock while its note is held, so that it is done again where this process dies in between.

    False where another task has it, None where the note is not to be seen right now.
    """
    note = slots.look(channel, _notes(lock), keep=False)
    if note is None:
        return None
    if note.body.decode() != task_id:
        channel.basic_reject(note.tag, requeue=True)
        return False
    slots.delete(channel, lock)
    channel.basic_ack(note.tag)
    return True


def _pause() -> None:
    """Let others have a look; not all of them at once."""
    time.sleep(random.uniform(0.002, 0.03))


def _notes(lock: str) -> str:
    return f"{lock}.id"
