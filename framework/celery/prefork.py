"""Celery's pool of processes, in which a job that has begun is never begun again by the pool."""

from typing import Any

import celery.concurrency.prefork
from celery.concurrency.asynpool import AsynPool

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
        process = job._write_to
        if process and not job._accepted and not process._is_alive():
            self.process_flush_queues(process)
            if job._accepted:
                return  # its process is cleaned up in the next round, and the job is lost with it
        super().on_job_process_down(job, pid_gone)


class TaskPool(celery.concurrency.prefork.TaskPool):
    """The pool ``prefork``; its module's name is what Celery shows of it."""

    Pool = Pool
