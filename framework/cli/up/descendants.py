"""Ends all descendants of this process, however they were started.

On Linux this process becomes the parent of orphans and daemons below it, and ``/proc`` lists them. On other systems
these functions do nothing, and only process groups are ended.
"""

import ctypes
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["adopt_orphans", "end_descendants", "end_with_parent"]


PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
#: Seconds between two polls of the running processes.
POLL_INTERVAL_SECONDS = 0.02
#: Seconds after which a killed process is left alone: it waits for a device, and ends when the device responds.
KILL_TIMEOUT_SECONDS = 5.0


def adopt_orphans() -> None:
    """Become the parent of each descendant whose parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with_parent() -> None:
    """Terminate this process when its parent ends, even if that is killed; a started program keeps this."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def end_descendants(grace: float) -> None:
    """Terminate every descendant and return when all have ended.

    Args:
        grace: seconds until they are killed.
    """
    deadline = time.monotonic() + grace
    _send(signal.SIGTERM, list(_descendants()))
    while (alive := list(_descendants())) and time.monotonic() < deadline + KILL_TIMEOUT_SECONDS:
        if time.monotonic() > deadline:
            _send(signal.SIGKILL, alive)
        time.sleep(POLL_INTERVAL_SECONDS)


def _send(number: signal.Signals, processes: list[int]) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            os.kill(pid, signal.SIGCONT)  # a suspended process receives only SIGKILL


def _descendants() -> Iterator[int]:
    _reap_children()
    children = defaultdict(list)
    for pid, parent in _processes():
        children[parent].append(pid)
    generation = children[os.getpid()]
    while generation:
        yield from generation
        generation = [child for pid in generation for child in children[pid]]


def _reap_children() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _processes() -> Iterator[tuple[int, int]]:
    """Yield the id of each living process and of its parent."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name, in parentheses, may contain any character.
            state, parent = stat.read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state != "Z":
                yield int(stat.parent.name), int(parent)
