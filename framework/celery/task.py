"""The base class of all tasks of this application."""

from collections.abc import Sequence
from typing import Any

import celery
from celery.result import AsyncResult

from framework.celery.calls import as_arguments, check_arguments
from framework.discovery.catalog import TaskInfo
from framework.limits import Limit, Unique
from framework.limits.admission import check_options
from framework.progress import signals

__all__ = ["Task"]


class Task(celery.Task):  # type: ignore[type-arg]
    """Celery's task, with limits, unique calls and tracking; invalid arguments are refused when it is called."""

    Request = "framework.celery.request:Request"

    #: Whether its state is reported to watchers, from the call to the end.
    track = False

    #: A `~framework.limits.Limit`, or several: how often it may be called.
    limit: Limit | Sequence[Limit] | None = None

    #: True or a `~framework.limits.Unique`: whether at most one is queued or running.
    unique: Unique | bool = False

    @classmethod
    def on_bound(cls, app: Any) -> None:
        """Check the task's options when it is bound to its application.

        Raises:
            BadLimit: its ``limit`` or ``unique`` is invalid.
        """
        super().on_bound(app)
        check_options(cls)
        if cls.track:
            signals.connect_signals()

    def apply_async(self, args: Any = None, kwargs: Any = None, *more: Any, **options: Any) -> "AsyncResult[Any]":
        """Call the task with options; see ``celery.Task.apply_async``.

        Raises:
            InvalidArguments: the task does not take these arguments.
            TaskTooLarge: its message has more bytes than ``task_message_max_bytes``.
            BrokerUnreachable: the broker does not answer, or not in time.
            OverLimit: a limit of the task has been reached.
            AlreadyQueued: the task is unique, and there is one.
        """
        args = as_arguments(self.name, args)
        check_arguments(TaskInfo.of(self), args, kwargs)
        return super().apply_async(args, kwargs, *more, **options)

    def retry(self, args: Any = None, kwargs: Any = None, exc: Any = None, *more: Any, **options: Any) -> Any:
        """Retry the task later; see ``celery.Task.retry``."""
        signals.remember_retry_reason(self.request.id, exc)
        return super().retry(args, kwargs, exc, *more, **options)
