"""The framework's application with two tasks: one does nothing, one waits as for somebody else's server."""

import os
import time

from framework.celery.celery import celery

WAIT = 0.02


@celery.task(name="growing.nothing", ignore_result=True)
def nothing() -> None:
    """Do nothing."""


@celery.task(name="growing.wait", ignore_result=True)
def wait(file: str) -> None:
    """Wait, then append the moment in nanoseconds, 8 bytes at once."""
    time.sleep(WAIT)
    written = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(written, time.time_ns().to_bytes(8))
    finally:
        os.close(written)


def call(count: int, begin: float) -> float:
    """From a moment on, call the task that does nothing, each call confirmed; return the moment of the end."""
    nothing.delay()  # connects and declares
    time.sleep(begin - time.time())
    for _ in range(count):
        nothing.delay()
    return time.time()
