"""What is checked before a call is queued: the name, the arguments, and that the broker took it."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from inspect import Signature, signature
from typing import Any

from celery import Celery, Task
from celery.utils.time import maybe_make_aware

from framework.discovery import catalog
from framework.errors import (
    BadDelay,
    FrameworkError,
    FrameworkWarning,
    UnknownTask,
    WrongArguments,
)

__all__ = ["as_arguments", "check_arguments", "check_call", "not_before"]


CENTURY = timedelta(days=36525)


def as_arguments(name: str, args: Any) -> Any:
    """The positional arguments of a call; a lone string, which parentheses do not make a tuple, is the one argument."""
    if not isinstance(args, str):
        return args
    warnings.warn(
        f"The arguments of {name} are a lone string, since (x) makes no tuple in Python; it is sent as the one "
        f"argument. Write ({args!r},) or [{args!r}].",
        FrameworkWarning,
        stacklevel=3,
    )
    return (args,)


def check_call(app: Celery, name: str, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None) -> str:
    """Refuse a call by name that no task would take; return the task's full name.

    A name is known if its task is imported here, is found in the source of the task modules (which are read, not
    imported), or matches the setting ``task_remote_names``. Only for a name that all of these lack, the task modules
    are imported, since a task may be made by code that cannot be read. Where a module and its task have one name, the
    module's is enough: ``framework.tasks.main_task`` is ``framework.tasks.main_task.main_task``.
    """
    if any(fnmatchcase(name, pattern) for pattern in app.conf.task_remote_names):
        return name
    twice = f"{name}.{name.rpartition('.')[2]}"
    for full_name in (name, twice):
        if full_name in app.tasks:
            check_arguments(app.tasks[full_name], args, kwargs)
            return full_name
        if entry := catalog.find(app.loader.default_modules, full_name):
            if entry.takes is not None:
                _bind(entry.takes.bind, full_name, entry.takes, args, kwargs)
            return full_name
    _import_and_find(app, name)
    return name


def check_arguments(task: "Task[Any, Any]", args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None) -> None:
    """Refuse arguments that ``task`` does not take, unless it was made with ``typing=False``."""
    header = getattr(task, "__header__", None) if task.typing else None
    if header is not None:
        _bind(header, task.name, signature(task.run), args, kwargs)


def _bind(call: Callable[..., object], name: str, takes: Signature, args: Any, kwargs: Any) -> None:
    try:
        call(*(args or ()), **(kwargs or {}))
    except TypeError as exc:
        raise WrongArguments.of(name, takes, exc) from None


def _import_and_find(app: Celery, name: str) -> None:
    broken: list[str] = []
    for module in app.loader.default_modules:
        try:
            app.loader.import_task_module(module)
        except FrameworkError as exc:
            broken.append(exc.message)
    if name not in app.tasks:
        names = {*app.tasks, *catalog.names(app.loader.default_modules)}
        unknown = UnknownTask.named(name, names)
        raise UnknownTask("\n".join([unknown.message, *broken]))


def not_before(app: Celery, countdown: float | None, eta: datetime | str | None) -> datetime | None:
    """The moment before which a task must not run, with its zone; None where it may run at once.

    Raises:
        BadDelay: it is no moment, or one more than a hundred years away.
    """
    try:
        if countdown:
            eta = datetime.now(UTC) + timedelta(seconds=countdown)
        elif isinstance(eta, str):
            eta = datetime.fromisoformat(eta)
        moment = None if eta is None else maybe_make_aware(eta, app.timezone)
    except (AttributeError, OverflowError, TypeError, ValueError) as exc:
        raise BadDelay.of(countdown or eta, exc) from None
    if moment is not None and moment > datetime.now(UTC) + CENTURY:
        raise BadDelay.of(countdown or eta, OverflowError("it is more than a hundred years away"))
    return moment
