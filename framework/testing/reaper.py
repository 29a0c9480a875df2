"""What tests start ends when they end, even when they are killed."""

import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import PIPE, Popen

# Its input closes when we end, however that came about; a line tells it that nothing is left to do.
SCRIPT = 'read -r dismissed || { kill -s KILL -- "-$1"; sleep 0.2; rm -rf -- "$2"; }'


def guard(group: int, folder: Path) -> Callable[[], object]:
    """Kill a process group and remove a folder when this process ends.

    Args:
        group: The id of the process group.
        folder: What the group writes to.

    Returns:
        What dismisses the guard, once everything is ended and removed in good order.
    """
    command = ["/bin/sh", "-c", SCRIPT, "guard", str(group), str(folder)]
    process = Popen(command, stdin=PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    if process.stdin is not None:
        os.register_at_fork(after_in_child=process.stdin.close)  # a forked child that survives us would keep it open
    return partial(process.communicate, b"\n")
