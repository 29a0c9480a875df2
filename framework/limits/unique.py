"""Unique tasks: at most one is queued or running for a key, on all servers.

::

    @celery.task(unique=Unique(key="report"))
    def build(report): ...

A second call returns the first one's id, or raises. The lock is a queue that the broker keeps, not a process: it
survives retries and killed workers, and is released when the task has ended.

The declaration of the queue is the lock. One argument is the id of the holder, so the broker refuses the declarations
of all others, and names the holder in its refusal. A message could not be the lock: RabbitMQ confirms one that is
published while its queue is deleted. The message in this queue only says what became of the holder's call.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar

from amqp.exceptions import PreconditionFailed
from kombu.utils.json import dumps

from framework.broker.queue_diff import Refusal
from framework.broker.queues import milliseconds
from framework.broker.request import request
from framework.errors import BadKey, BadLimit
from framework.limits import tokens
from framework.limits.key import digest, normalize, value_of
from framework.limits.owner import warn_if_ignored

__all__ = ["Unique"]


T = TypeVar("T")

#: The argument of the queue that has the id of the holder. Its dead letters are worth nothing: they go nowhere.
HOLDER_ARGUMENT, NOWHERE = "x-dead-letter-routing-key", "unique.nowhere"

#: Before the id: with it the value is never read as a number.
HOLDER_PREFIX = ":"

#: An argument that the broker refuses for a new queue, and does not compare for this one.
CREATE_NOTHING = {"x-delivery-limit": "never"}

#: The first byte of the message: its task is being called, or the broker has the task's message.
CALLED, QUEUED = b"?", b"!"

#: Seconds of the longest life of a lock: a fortnight; and of the usual one: a day.
LONGEST_LOCK_SECONDS, USUAL_LOCK_SECONDS = 14 * 86400.0, 86400.0


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
    expires: float = USUAL_LOCK_SECONDS

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
    """The task that holds a lock: its id, empty where the broker has no room for it, and whether it is queued.

    A task with another id than the caller's counts as queued.
    """

    id: str
    queued: bool


class _Held(Exception):
    """Another task holds the lock: the one with this ``id``, which is empty where the refusal has no room for it."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.id = holder


def acquire(app: Any, lock: str, task_id: str, expires: float) -> Holder | None:
    """Acquire a lock for a task; return None, or the task that holds it: another one, or this one from an earlier call.

    Raises:
        BrokerUnreachable: the broker does not answer.
    """
    while True:
        try:
            return _declare(app, lock, task_id, expires, partial(_note_call, lock=lock, task_id=task_id))
        except _Held as held:
            if held.id:
                return Holder(held.id, queued=True)
        with suppress(PreconditionFailed):  # it was released in between
            return Holder(_holder_id(app, lock, expires), queued=True)


def mark_queued(app: Any, lock: str, task_id: str) -> None:
    """Note that the broker has the message of the task that holds a lock: from now on a call with its id is another.

    Raises:
        BrokerUnreachable: the broker does not answer.
    """
    request(app, partial(tokens.put_record, name=lock, body=QUEUED + task_id.encode()))


def release(app: Any, lock: str, task_id: str, expires: float = USUAL_LOCK_SECONDS) -> None:
    """Release a lock, if that task holds it; ``expires`` is what it was acquired with, and saves a request if known.

    Raises:
        BrokerUnreachable: the broker does not answer.
    """
    with suppress(PreconditionFailed, _Held):  # it was released already, and may have its next holder
        _declare(app, lock, task_id, expires, lambda channel: channel.queue_delete(lock), CREATE_NOTHING)


def _declare(
    app: Any,
    lock: str,
    task_id: str,
    expires: float,
    operation: Callable[[Any], T],
    more: Mapping[str, Any] | None = None,
) -> T:
    """Declare the queue of a lock for a task; return the result of ``operation``, which gets the channel.

    Raises:
        _Held: Another task holds the lock.
        amqp.exceptions.PreconditionFailed: There is no such queue, and ``more`` is invalid for a new one.
    """
    arguments = {
        "x-queue-type": "classic",
        "x-max-length": 1,
        "x-expires": milliseconds(expires),
        "x-dead-letter-exchange": NOWHERE,
        HOLDER_ARGUMENT: HOLDER_PREFIX + task_id,
        **(more or {}),
    }

    def declare(channel: Any) -> T:
        channel.queue_declare(lock, durable=True, auto_delete=False, arguments=arguments)
        return operation(channel)

    while True:
        try:
            return request(app, declare)
        except PreconditionFailed as exc:
            if f"inequivalent arg {HOLDER_ARGUMENT!r}" in str(exc):
                raise _Held(_id_in(exc)) from None
            refusal = Refusal.from_error(exc)
            if refusal is None or arguments.get(refusal.difference.argument) == refusal.difference.theirs:
                raise
        # Acquired by a process with another ``expires``: a queue keeps its own.
        arguments[refusal.difference.argument] = refusal.difference.theirs


def _note_call(channel: Any, lock: str, task_id: str) -> Holder | None:
    """Return the holder of a lock that the task acquired by an earlier call; note the call where this is the first."""
    # The declaration's count of messages may be the one before the last reader requeued its message.
    record = tokens.read_oldest(channel, lock)
    if record is not None and record.body[1:] == task_id.encode():
        return Holder(task_id, queued=record.body[:1] == QUEUED)
    tokens.put_record(channel, lock, CALLED + task_id.encode())
    return None


def _holder_id(app: Any, lock: str, expires: float) -> str:
    """Return the id of the holder from a refusal without a second one: an error of AMQP has 255 bytes.

    Raises:
        amqp.exceptions.PreconditionFailed: The lock is free.
    """
    try:
        _declare(app, lock, "", expires, lambda _: None, CREATE_NOTHING)
    except _Held as held:
        return held.id
    return ""


def _id_in(refused: PreconditionFailed) -> str:
    refusal = Refusal.from_error(refused)
    holder = refusal.difference.theirs if refusal else None
    if not isinstance(holder, str) or str(refused).endswith("..."):  # too long, so the broker cut it
        return ""
    return holder.removeprefix(HOLDER_PREFIX)
