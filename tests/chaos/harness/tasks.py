"""The tasks of the chaos tests; each project has a copy as ``probe/tasks/chaos.py``."""

import ctypes
import os
import resource
import signal
import sys
import time
from pathlib import Path

from probe.application import celery

HERE = Path(__file__).parents[2]


def note(name, *values):
    """Append one line with one write, so that it is complete after any crash."""
    line = " ".join(map(str, values)) + "\n"
    file = os.open(HERE / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


@celery.task
def work(number, seconds=0.0):
    note("started", number, time.time())
    time.sleep(seconds)
    note("done", number, time.time())


@celery.task(bind=True)
def ladder(self, number, waits):
    note("tries", number, time.time())
    if self.request.retries < len(waits):
        raise self.retry(countdown=waits[self.request.retries], max_retries=len(waits))
    note("started", number, time.time())
    note("done", number, time.time())


@celery.task
def fail_while(number, file):
    note("started", number, time.time())
    if (HERE / file).exists():
        raise RuntimeError(f"{file} is there")
    note("done", number, time.time())


@celery.task(bind=True)
def labelled(self, number):
    """Write the label of the message, which is one of its headers."""
    note("labels", self.request.get("x_label"))


@celery.task(time_limit=2)
def poison(number, kind):
    note("started", number, time.time())
    POISON[kind]()
    note("done", number, time.time())


def segfault():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.string_at(0)


def leave():
    sys.exit(3)


def leave_at_once():
    os._exit(3)


def kill_child():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_main():
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(5)


def no_memory():
    raise MemoryError


def allocate():
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, resource.RLIM_INFINITY))
    blocks = []
    while True:
        blocks.append(bytearray(1 << 26))


def loop():
    while True:
        pass


POISON = {
    kind.__name__: kind for kind in (segfault, leave, leave_at_once, kill_child, kill_main, no_memory, allocate, loop)
}
