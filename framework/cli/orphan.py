"""Ends a worker or beat whose launcher, ``framework up``, was killed with its watchdog."""

import os
import signal
import time
from threading import Thread

from framework.config import LAUNCHER_FD_VARIABLE

__all__ = ["end_with_launcher"]

#: Seconds that a worker has to end its tasks, as when the launcher stops it.
GRACE_SECONDS = 10.0


def end_with_launcher() -> None:
    """End this process once ``$FRAMEWORK_LAUNCHER_FD``, where that is set, says that the launcher is gone."""
    if LAUNCHER_FD_VARIABLE in os.environ:
        pipe = int(os.environ.pop(LAUNCHER_FD_VARIABLE))
        os.set_inheritable(pipe, False)
        # Not PR_SET_PDEATHSIG: this works on each system, and can wait between two signals.
        Thread(target=_end_after, args=(pipe,), name="launcher watch", daemon=True).start()


def _end_after(pipe: int) -> None:
    os.read(pipe, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.killpg(os.getpgrp(), signal.SIGKILL)
