"""Celery's pool of processes, in which a job that has begun is never begun again by the pool."""

from typing import Any

import celery.concurrency.prefork
from celery.concurrency.asynpool import AsynPool

from framework.celery import compat

__all__ = ["Pool", "TaskPool"]


class Pool(AsynPool):
    """Celery's pool, which hears what a child has said before it decides what becomes of its job.

    A child says that it took a job, then runs it. Celery reads that of children it finds dead; but one that dies while
    Celery looks at another dead one is found by its job, whose process is gone and which nobody is known to have taken:
    it is handed to the next child, with nothing between to count it by. A poison task was run seven times by six
    deliveries so.
    """

    def on_job_process_down(self, job: Any, pid_gone: Any) -> None:
        """Called for each job whose process is gone."""
        process = compat.process_of(job)
        if process and not compat.was_accepted(job) and not compat.is_alive(process):
            self.process_flush_queues(process)
            if compat.was_accepted(job):
                return  # its process is cleaned up in the next round, and the job is lost with it
        super().on_job_process_down(job, pid_gone)


class TaskPool(celery.concurrency.prefork.TaskPool):
    """The pool ``prefork``; its module's name is what Celery shows of it."""

    Pool = Pool
