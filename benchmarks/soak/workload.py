"""The application of the soak: tasks that record each run, and a count of the timers of a worker."""

import os
import time
from pathlib import Path

from celery import signals
from records import append

from framework.celery.celery import celery
from framework.limits import Limit, Unique
from framework.progress import progress

FOLDER = Path(os.environ["SOAK_FOLDER"])
RETRY_SECONDS = 1

# States expire within the run, so that as many are stored at its end as after its warm-up.
celery.conf.update(task_state_expires=3)


class OutageError(Exception):
    """Fails a task until a given time."""


@celery.task(name="soak.plain", ignore_result=True)
def plain(caller: int, number: int) -> None:
    append(FOLDER, "runs", caller, number)


@celery.task(name="soak.answered")
def answered(caller: int, number: int) -> int:
    append(FOLDER, "runs", caller, number)
    return number


@celery.task(name="soak.retried", bind=True, ignore_result=True)
def retried(self, caller: int, number: int) -> None:
    if self.request.retries < 2:
        raise self.retry(countdown=RETRY_SECONDS, max_retries=2)
    append(FOLDER, "runs", caller, number)


@celery.task(name="soak.broken", ignore_result=True)
def broken(caller: int, number: int) -> None:
    raise ValueError(f"call {number} of caller {caller} always fails")


@celery.task(name="soak.outage", ignore_result=True)
def outage(caller: int, number: int, until: float) -> None:
    if time.time() < until:
        raise OutageError(f"call {number} of caller {caller} fails until {until}")
    append(FOLDER, "runs", caller, number)


@celery.task(name="soak.limited", ignore_result=True, limit=Limit("1/1s", key="visitor"))
def limited(caller: int, number: int, visitor: str) -> None:  # noqa: ARG001 - the key of the limit
    append(FOLDER, "runs", caller, number)


@celery.task(name="soak.paced", ignore_result=True, limit=Limit("10/1s", key="caller", over="delay"))
def paced(caller: int, number: int) -> None:
    append(FOLDER, "runs", caller, number)


@celery.task(name="soak.unique", ignore_result=True, unique=Unique(key="key"))
def unique(caller: int, number: int, key: str) -> None:  # noqa: ARG001
    append(FOLDER, "runs", caller, number)


@celery.task(name="soak.tracked", ignore_result=True, track=True)
def tracked(caller: int, number: int) -> None:
    for _ in progress(range(20), "counting"):
        pass
    append(FOLDER, "runs", caller, number)


@signals.worker_ready.connect
def count_timers(sender, **_options) -> None:
    """Write the number of timers of the worker's event loop to a file each second."""
    file = FOLDER / f"timers.{sender.hostname.partition('@')[0]}"
    sender.hub.call_repeatedly(1.0, lambda: file.write_text(str(len(sender.hub.timer))))
