"""Celery's prefork pool, which never starts a job twice."""

from typing import Any

import celery.concurrency.prefork
from celery.concurrency.asynpool import AsynPool

from framework.celery import compat

__all__ = ["Pool", "TaskPool"]


class Pool(AsynPool):
    """Celery's pool, which reads the messages of a dead child before it decides about the child's job.

    A child reports that it took a job, then runs it. Celery reads the reports of children that it finds dead. But where
    a child dies while Celery handles another dead one, its report is not read yet: Celery gives the job to the next
    child, and no delivery is counted. A poison task ran seven times in six deliveries.
    """

    def on_job_process_down(self, job: Any, pid_gone: Any) -> None:
        """Read the reports of a process that is gone before its job is rescheduled."""
        process = compat.process_of(job)
        if process and not compat.was_accepted(job) and not compat.is_alive(process):
            self.process_flush_queues(process)
            if compat.was_accepted(job):
                return  # the next round cleans up its process, and the job is lost with it
        super().on_job_process_down(job, pid_gone)


class TaskPool(celery.concurrency.prefork.TaskPool):
    """The pool ``prefork``; Celery shows the name of its module."""

    Pool = Pool
