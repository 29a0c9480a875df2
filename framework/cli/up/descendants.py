"""The processes below this one: to leave none behind, however they were started.

On Linux the kernel gives us those whose parent ended, also daemons, and ``/proc`` lists them. Elsewhere both functions
do nothing, and what ends a process group has to do.
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

__all__ = ["adopt_orphans", "end_descendants"]


PR_SET_CHILD_SUBREAPER = 36
#: Seconds between two looks at what still runs.
PAUSE = 0.02
#: Seconds after which not even ``kill -9`` will help: a process waits for a device, and ends when that answers.
HOPELESS = 5.0


def adopt_orphans() -> None:
    """Become the parent of every process below this one whose own parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_descendants(grace: float) -> None:
    """End every process below this one and return when they are gone.

    Args:
        grace: seconds that they have to end by themselves, before they are killed.
    """
    how, deadline = signal.SIGTERM, time.monotonic() + grace
    _send(how, list(_descendants()))
    while (alive := list(_descendants())) and time.monotonic() < deadline + HOPELESS:
        if time.monotonic() > deadline:
            _send(signal.SIGKILL, alive)
        time.sleep(PAUSE)


def _send(how: signal.Signals, processes: list[int]) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, how)
            os.kill(pid, signal.SIGCONT)  # a suspended process hears nothing but a kill


def _descendants() -> Iterator[int]:
    _bury_children()
    children = defaultdict(list)
    for pid, parent in _processes():
        children[parent].append(pid)
    generation = children[os.getpid()]
    while generation:
        yield from generation
        generation = [child for pid in generation for child in children[pid]]


def _bury_children() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _processes() -> Iterator[tuple[int, int]]:
    """Each living process and its parent."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name, in parentheses, may hold anything.
            state, parent = stat.read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state != "Z":
                yield int(stat.parent.name), int(parent)
