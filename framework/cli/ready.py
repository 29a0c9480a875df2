"""Announces that a worker or beat is ready, to the process that started it: one line into a pipe."""

import os
from typing import Any

from celery.signals import beat_init, worker_ready

from framework.config import READY_FD_VARIABLE

__all__ = ["announce_readiness"]


def announce_readiness() -> None:
    """Write a line about this worker or beat to ``$FRAMEWORK_READY_FD``, where that is set, once it is ready."""
    if READY_FD_VARIABLE in os.environ:
        pipe = int(os.environ.pop(READY_FD_VARIABLE))
        os.set_inheritable(pipe, False)
        _announce(pipe)


def _announce(pipe: int) -> None:
    def write(line: str) -> None:
        os.write(pipe, f"{line}\n".encode())
        os.close(pipe)

    @worker_ready.connect(weak=False)
    def worker_is_ready(sender: Any, **_: Any) -> None:
        write(f"{sender.hostname}, {_number(sender.controller.concurrency, 'process', 'processes')}")

    @beat_init.connect(weak=False)
    def beat_is_ready(sender: Any, **_: Any) -> None:
        write(f"{_number(len(sender.scheduler.schedule), 'entry', 'entries')} in the schedule")


def _number(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
