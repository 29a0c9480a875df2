"""Frees the exceptions of failed and retried tasks when their run has ended.

Celery's tracer has the exception of a task in its local variables, and the traceback of the exception has the frame of
the tracer: a cycle, which Python frees much later. With it stay the lines and columns of each instruction that billiard
has copied, half a megabyte for a failure. A pool process grew by 30 MB until Python looked for cycles.
https://github.com/celery/celery/issues/8882 clears all frames but that of the tracer, which still runs.
"""

import sys
import threading
from typing import Any

from celery import signals
from celery.exceptions import Retry

__all__ = ["EndedExceptions"]


class EndedExceptions(threading.local):
    """The exceptions with which the run of a task in this thread has ended."""

    def __init__(self) -> None:
        self._exceptions: list[BaseException | None] = []

    def add(self, *exceptions: BaseException | None) -> None:
        """Note exceptions until the run has ended: handlers of the task and of its signals need their tracebacks."""
        self._exceptions += exceptions

    def free(self) -> None:
        """Drop the tracebacks of these exceptions, which a pool has sent as text."""
        while self._exceptions:
            if (exception := self._exceptions.pop()) is not None:
                exception.__traceback__ = None
            if isinstance(exception, Retry):
                exception.args = ()  # the first one is the exception itself


@signals.task_failure.connect
@signals.task_retry.connect
def _note(sender: Any, exception: BaseException | None = None, **_details: Any) -> None:
    """Note the exception that the tracer handles, and the one that replaces it where that cannot be pickled.

    The main process of a worker sends the signal for a lost process too, where no run ends.
    """
    ended = getattr(sender.app.loader, "ended_exceptions", None)
    if ended is not None and not (sender.request.called_directly or sender.request.is_eager):
        ended.add(sys.exc_info()[1], exception)
