"""Ends the processes that tests started when the tests end, even when they are killed."""

import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import PIPE, Popen

# The script's input closes when this process ends; a line on its input dismisses it.
SCRIPT = 'read -r dismissed || { kill -s KILL -- "-$1"; sleep 0.2; rm -rf -- "$2"; }'


def end_with_this_process(group: int, folder: Path) -> Callable[[], object]:
    """Kill a process group and remove a folder when this process ends.

    Args:
        group: The id of the process group.
        folder: The folder of its files.

    Returns:
        A function that dismisses the reaper, to be called after the group has ended and the folder is removed.
    """
    command = ["/bin/sh", "-c", SCRIPT, "reaper", str(group), str(folder)]
    process = Popen(command, stdin=PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    if process.stdin is not None:
        os.register_at_fork(after_in_child=process.stdin.close)  # a child that outlives this process would keep it open
    return partial(process.communicate, b"\n")
