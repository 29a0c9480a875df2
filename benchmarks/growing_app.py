"""The framework's application with two tasks: one does nothing, one waits, as for a third-party API."""

import os
import time

from framework.celery.celery import celery

WAIT_SECONDS = 0.02


@celery.task(name="growing.nothing", ignore_result=True)
def nothing() -> None:
    """Do nothing."""


@celery.task(name="growing.wait", ignore_result=True)
def wait(file: str) -> None:
    """Wait, then append the time in nanoseconds with one write of 8 bytes."""
    time.sleep(WAIT_SECONDS)
    written = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(written, time.time_ns().to_bytes(8))
    finally:
        os.close(written)


def call(count: int, begin: float) -> float:
    """Make ``count`` confirmed calls of the task that does nothing, from the time ``begin`` on; return the end."""
    nothing.delay()  # connects and declares
    time.sleep(begin - time.time())
    for _ in range(count):
        nothing.delay()
    return time.time()
