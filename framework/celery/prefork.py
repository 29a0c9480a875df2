"""Celery's prefork pool, which never starts a job twice and keeps no timer of a job that has ended."""

from collections.abc import Callable
from typing import Any

import celery.concurrency.prefork
from celery.concurrency.asynpool import AsynPool
from celery.worker import state

from framework.celery import compat

__all__ = ["Pool", "TaskPool", "drop_cancelled"]

#: Cancelled time limits after which they are dropped from the event loop's timer, if they are half of its entries.
MAX_CANCELLED_TIMERS = 500


class Pool(AsynPool):
    """Celery's pool, which reads the messages of a dead child before it decides about the child's job.

    A child reports that it took a job, then runs it. Celery reads the reports of children that it finds dead. But where
    a child dies while Celery handles another dead one, its report is not read yet: Celery gives the job to the next
    child, and no delivery is counted. A poison task ran seven times in six deliveries.

    A job that was sent to a child when the worker is stopped is run, so its end is waited for.

    The time limit of a job is an entry of the event loop's timer. Celery cancels it when the job ends, but a cancelled
    entry stays until it is due: with a limit of 29 minutes the worker grew by half a kilobyte a task for that long.
    """

    def on_job_process_down(self, job: Any, pid_gone: Any) -> None:
        """Read the reports of a process that is gone before its job is rescheduled."""
        process = compat.process_of(job)
        if process and not compat.was_accepted(job) and not compat.is_alive(process):
            self.process_flush_queues(process)
            if compat.was_accepted(job):
                return  # the next round cleans up its process, and the job is lost with it
        super().on_job_process_down(job, pid_gone)

    def flush(self) -> None:
        """Forget the jobs that no child has accepted, except what was sent to one when the worker was stopped."""
        if state.should_stop is not None:
            compat.wait_for_written(self)
        super().flush()

    def register_with_event_loop(self, hub: Any) -> None:
        """Register the pool's processes and timers, and drop cancelled time limits as jobs end."""
        super().register_with_event_loop(hub)
        self.on_timeout_cancel: Callable[[Any], None] = _then_drop_cancelled(self.on_timeout_cancel, hub.timer)


def _then_drop_cancelled(cancel: Callable[[Any], None], timer: Any) -> Callable[[Any], None]:
    cancelled = 0

    def cancel_then_drop(job: Any) -> None:
        nonlocal cancelled
        cancel(job)
        cancelled += 1
        if cancelled > MAX_CANCELLED_TIMERS and cancelled > len(timer) / 2:
            drop_cancelled(timer)
            cancelled = 0

    return cancel_then_drop


def drop_cancelled(timer: Any) -> None:
    """Remove the cancelled entries of a kombu timer."""
    entries = timer.queue
    timer.clear()
    for eta, priority, entry in entries:
        if not entry.cancelled:
            timer.enter_at(entry, eta, priority)


class TaskPool(celery.concurrency.prefork.TaskPool):
    """The pool ``prefork``; Celery shows the name of its module."""

    Pool = Pool
