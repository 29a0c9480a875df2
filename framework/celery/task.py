"""The base class of all tasks of this application."""

from typing import Any

import celery
from celery.result import AsyncResult

from framework import runs
from framework.celery.calling import as_arguments, check_arguments

__all__ = ["Task"]


class Task(celery.Task):  # type: ignore[type-arg]
    """Celery's task; a call with wrong arguments says what the task takes."""

    Request = "framework.celery.request:Request"

    #: Whether its state is told to whoever watches, from the call to the end.
    track = False

    @classmethod
    def on_bound(cls, app: Any) -> None:
        """Called when the task is bound to its application."""
        super().on_bound(app)
        if cls.track:
            runs.listen()

    def apply_async(self, args: Any = None, kwargs: Any = None, *more: Any, **options: Any) -> "AsyncResult[Any]":
        """Call the task with options; see ``celery.Task.apply_async``.

        Raises:
            WrongArguments: the task does not take these arguments.
            BrokerUnreachable: the broker does not answer, or not in time.
        """
        args = as_arguments(self.name, args)
        check_arguments(self, args, kwargs)
        return super().apply_async(args, kwargs, *more, **options)

    def retry(self, args: Any = None, kwargs: Any = None, exc: Any = None, *more: Any, **options: Any) -> Any:
        """Try the task again later; see ``celery.Task.retry``."""
        runs.note_reason(self.request.id, exc)
        return super().retry(args, kwargs, exc, *more, **options)
