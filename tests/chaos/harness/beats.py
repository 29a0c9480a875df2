"""A program that runs many schedulers: ``python beats.py APPLICATION COUNT LOG [URL ...]``.

It imports once and forks, so that a hundred processes fit on a small machine, each with its own connection. A line on
its input forks another one; at the end of its input all of them end. Each takes the next URL, where there are any.
"""

import ctypes
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

sys.path.insert(0, "")

from celery.beat import PersistentScheduler, Service

PR_SET_PDEATHSIG = 1


def main(application: str, count: int, log: str, *urls: str) -> None:
    app = import_module(application).celery
    app.loader.import_default_modules()
    app.finalize(auto=True)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    children = [fork(app, number, log, urls) for number in range(count)]
    while sys.stdin.readline():
        children.append(fork(app, len(children), log, urls))
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def fork(app, number: int, log: str, urls: Sequence[str]) -> int:
    child = os.fork()
    if child == 0:
        try:
            if urls:
                os.environ["CELERY_BROKER_URL"] = urls[number % len(urls)]
            schedule(app, number, log)
        finally:
            os._exit(1)
    return child


def schedule(app, number: int, log: str) -> None:
    exit_with_parent()
    os.close(0)
    logging.basicConfig(filename=log, level=logging.INFO, format="%(created).3f %(process)d %(message)s")
    chosen = app.conf.beat_scheduler
    plain = chosen.startswith("celery.beat")
    logging.getLogger("beats").info("begins")
    Service(app, scheduler_cls=PersistentScheduler if plain else chosen, schedule_filename=f"beat-{number}").start()


def exit_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
