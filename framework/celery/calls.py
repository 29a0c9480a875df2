"""Checks a call before it is queued: the task's name, its arguments, its delay."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from celery import Celery
from celery.utils.time import maybe_make_aware

from framework.celery import compat
from framework.discovery import catalog
from framework.discovery.catalog import TaskInfo, resolve
from framework.errors import (
    BadDelay,
    FrameworkError,
    FrameworkWarning,
    InvalidArguments,
    TaskTooLarge,
    UnknownTask,
)

__all__ = ["CENTURY", "as_arguments", "check_arguments", "check_size", "not_before", "resolve_call"]


CENTURY = timedelta(days=36525)


def as_arguments(name: str, args: Any) -> Any:
    """Return the positional arguments of a call; a single string, such as ``("x")``, is one argument."""
    if not isinstance(args, str):
        return args
    warnings.warn(
        f"The arguments of {name} are a lone string, since (x) makes no tuple in Python; it is sent as the one "
        f"argument. Write ({args!r},) or [{args!r}].",
        FrameworkWarning,
        stacklevel=3,
    )
    return (args,)


def resolve_call(app: Celery, name: str, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None) -> TaskInfo:
    """Return the task of a call by name; refuse a name that no task has, and arguments that it does not take.

    A name is known if its task is imported here, is found in the source of the task modules (which are read, not
    imported), or matches the setting ``task_remote_names``. Only for a name that all of these lack, the task modules
    are imported, since a task may be made by code that cannot be read.

    Raises:
        UnknownTask: no task has that name.
        InvalidArguments: the task does not take these arguments.
    """
    found = resolve(app, name)
    if any(fnmatchcase(name, pattern) for pattern in app.conf.task_remote_names):
        return replace(found, name=name) if found else TaskInfo(name)
    info = found or _import_and_find(app, name)
    check_arguments(info, args, kwargs)
    return info


def check_arguments(info: TaskInfo, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None) -> None:
    """Refuse arguments that a task does not take, unless it was made with ``typing=False``.

    Raises:
        InvalidArguments: the task does not take these arguments.
    """
    check: Callable[..., object] | None = compat.argument_check(info.task) if info.task else None
    if info.takes is not None:
        check = info.takes.bind
    if check is None:
        return
    try:
        check(*(args or ()), **(kwargs or {}))
    except TypeError as exc:
        raise InvalidArguments.of(info.name, info.signature, exc) from None


def check_size(name: str, limit: int, size: int) -> None:
    """Refuse a task whose message has more bytes than a worker takes.

    Raises:
        TaskTooLarge: ``size`` exceeds ``limit``.
    """
    if size > limit:
        raise TaskTooLarge.of(name, size, limit)


def _import_and_find(app: Any, name: str) -> TaskInfo:
    broken: list[str] = []
    for module in app.loader.default_modules:
        try:
            app.loader.import_task_module(module)
        except FrameworkError as exc:
            broken.append(exc.message)
    if (task := app.tasks.get(name)) is not None:
        return TaskInfo.of(task)
    names = {*app.tasks, *catalog.names(app.loader.default_modules)}
    unknown = UnknownTask.named(name, names)
    raise UnknownTask("\n".join([unknown.message, *broken]))


def not_before(app: Celery, countdown: float | None, eta: datetime | str | None) -> datetime | None:
    """Return the time before which a task must not run, with its zone; None where it may run at once.

    Raises:
        BadDelay: it is no time, or one more than a hundred years away.
    """
    try:
        if countdown:
            eta = datetime.now(UTC) + timedelta(seconds=countdown)
        elif isinstance(eta, str):
            eta = datetime.fromisoformat(eta)
        due = None if eta is None else maybe_make_aware(eta, app.timezone)
    except (AttributeError, OverflowError, TypeError, ValueError) as exc:
        raise BadDelay.of(countdown or eta, exc) from None
    if due is not None and due > datetime.now(UTC) + CENTURY:
        raise BadDelay.of(countdown or eta, OverflowError("it is more than a hundred years away"))
    return due
