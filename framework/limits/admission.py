"""Admits a call: acquires its tokens and its lock before it is queued; a retry was admitted before."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from inspect import getattr_static, signature
from typing import Any

from amqp.exceptions import AMQPError
from celery import current_task
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult, EagerResult
from celery.states import REVOKED
from celery.utils.log import get_logger

from framework.broker.producer import Unconfirmed
from framework.discovery.catalog import TaskInfo
from framework.errors import AlreadyQueued, BadLimit, BrokerError, OverLimit, describe
from framework.limits.limit import Limit, window_of
from framework.limits.unique import Unique, acquire, lock_name, mark_queued, release

__all__ = ["LOCK", "ShortCircuit", "admitted", "check_options", "limits_of", "unique_of"]


log = get_logger(__name__)

#: The header that names the lock of a unique task.
LOCK = "unique"


class ShortCircuit(Exception):
    """A call has its result and is not queued."""

    def __init__(self, result: "AsyncResult[Any]") -> None:
        super().__init__(result)
        self.result = result


@contextmanager
def admitted(info: TaskInfo, args: Any, kwargs: Any, task_id: str, options: dict[str, Any]) -> Iterator[None]:
    """Acquire what a call needs, and release it where the publish inside fails.

    Args:
        info: The task that is called.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        task_id: The id of the call, which becomes the holder of a lock.
        options: The options of the call; ``headers`` and ``not_before`` are set here.

    Raises:
        ShortCircuit: the call has its result already, and nothing is to be queued.
        OverLimit: a limit of the task has been reached.
        LimitUnavailable: a limit of the task cannot be counted now.
        AlreadyQueued: the task is unique, and there is one.
        BadKey: a limit's key, or a unique task's, is None.
    """
    task = info.task
    if options.get("retries") or task is None or not (limits_of(task) or unique_of(task)):
        yield
        return
    undo: list[Callable[[], None]] = []
    try:
        _acquire_all(task, _bound_to(task, args, kwargs), task_id, options, undo)
        yield
    except Unconfirmed:  # the broker may have the call, which then needs what was acquired
        raise
    except BaseException:
        for release_one in reversed(undo):
            release_one()
        raise
    if unique_of(task):
        _mark_queued(task, options["headers"][LOCK], task_id)


def limits_of(task: Any) -> Sequence[Limit]:
    """Return the limits of a task."""
    limit = getattr(task, "limit", None)
    return () if limit is None else (limit,) if isinstance(limit, Limit) else tuple(limit)


def unique_of(task: Any) -> Unique | None:
    """Return by what a task is unique; None where it is not."""
    unique = getattr(task, "unique", None)
    return Unique() if unique is True else unique or None


def check_options(task: Any) -> None:
    """Refuse a task whose ``limit`` or ``unique`` is invalid.

    Raises:
        BadLimit: it is of another type, or its key is no argument of the task.
    """
    limit, unique = getattr(task, "limit", None), getattr(task, "unique", None)
    listed = limit if isinstance(limit, list | tuple) else [limit]
    if limit is not None and not all(isinstance(each, Limit) for each in listed):
        raise BadLimit.on(task.name, f"limit is {limit!r}", "Write limit=Limit('5/minute', key='visitor').")
    if not isinstance(unique, Unique | bool | None):
        raise BadLimit.on(task.name, f"unique is {unique!r}", "Write unique=True, or unique=Unique(key='report').")
    for key in [each.key for each in limits_of(task)] + ([unique.key] if isinstance(unique, Unique) else []):
        taken = _parameters(task)
        if isinstance(key, str) and key not in taken:
            raise BadLimit.on(task.name, f"it has no argument {key!r}", f"It has: {', '.join(taken) or 'none'}.")


def _parameters(task: Any) -> list[str]:
    """Return the names of a task's arguments, of its class as well as of the task itself."""
    names = list(signature(task.run).parameters)
    has_self = isinstance(task, type) and not isinstance(getattr_static(task, "run"), staticmethod)
    return names[1:] if has_self else names


def _bound_to(task: Any, args: Any, kwargs: Any) -> Mapping[str, Any]:
    """Return the arguments of a call by their names, defaults included."""
    bound = signature(task.run).bind(*(args or ()), **(kwargs or {}))
    bound.apply_defaults()
    return bound.arguments


def _acquire_all(
    task: Any, bound: Mapping[str, Any], task_id: str, options: dict[str, Any], undo: list[Callable[[], None]]
) -> None:
    # Every key is read before anything is acquired.
    wanted = [(limit, window_of(task, limit, place, bound)) for place, limit in enumerate(limits_of(task))]
    unique = unique_of(task)
    if unique is not None:
        _lock(task, unique, lock_name(task, unique, bound), task_id, options, undo)
    for limit, window in sorted(wanted, key=lambda pair: pair[0].over == "delay"):
        if limit.over == "delay":
            _wait_for_turn(window.reserve(), options)
        elif (taken := window.acquire()) is not None:
            undo.append(lambda window=window, taken=taken: window.release(taken))  # type: ignore[misc]
        elif limit.over == "drop":
            cause = TaskRevokedError(f"dropped: over the limit of {limit.text}")
            raise ShortCircuit(EagerResult(task_id, cause, REVOKED, name=task.name))
        else:
            raise OverLimit.of(limit.name or task.name, limit.text, window.wait())


def _lock(
    task: Any, unique: Unique, lock: str, task_id: str, options: dict[str, Any], undo: list[Callable[[], None]]
) -> None:
    holder = acquire(task.app, lock, task_id, unique.expires)
    if holder is None:
        undo.append(lambda: release(task.app, lock, task_id, unique.expires))
    elif holder.id != task_id or (holder.queued and not _is_running(task_id)):
        if unique.duplicate == "existing" and holder.id:
            raise ShortCircuit(task.AsyncResult(holder.id))
        raise AlreadyQueued.by(task.name, holder.id)
    options["headers"] = {**(options.get("headers") or {}), LOCK: lock}


def _is_running(task_id: str) -> bool:
    """Return whether this process runs that task, which publishes its own replacement."""
    return bool(current_task) and current_task.request.id == task_id


def _mark_queued(task: Any, lock: str, task_id: str) -> None:
    try:
        mark_queued(task.app, lock, task_id)
    except (BrokerError, AMQPError, OSError) as exc:  # the task itself is queued
        log.warning("%s[%s]: a second call with this id would be queued: %s", task.name, task_id, describe(exc))


def _wait_for_turn(wait: float, options: dict[str, Any]) -> None:
    """Delay a call for so many seconds, until its turn, or until its own eta where that is later."""
    if wait > 0:
        due = datetime.now(UTC) + timedelta(seconds=wait)
        given = options.get("not_before")
        options["not_before"] = max(due, given) if given else due
