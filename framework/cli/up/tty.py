"""Puts the COMMAND of ``framework up`` into the foreground of the terminal, as a shell does."""

import os
import signal
import sys
from contextlib import suppress

__all__ = ["Terminal"]


class Terminal:
    """The terminal of this process's parent, if it has one and is in the foreground."""

    def __init__(self) -> None:
        self.group = os.getpgid(os.getppid())
        self._process: int | None = None

    def put_in_foreground(self, process: int) -> None:
        """Put the group of ``process`` into the foreground, where the parent's group has it."""
        if self._foreground_group() == self.group:
            self._process = process
            self.resumed()  # the process may have been suspended for reading before it was in the foreground

    def take_back(self) -> None:
        """Put the parent's group into the foreground again."""
        if self._process is not None:
            self._set_foreground(self.group)
            self._process = None

    def suspended(self) -> None:
        """Return the terminal to the shell when Ctrl-Z has suspended the foreground process."""
        with suppress(ChildProcessError):
            if self._process is not None and os.waitid(os.P_PID, self._process, os.WSTOPPED | os.WNOHANG):
                self._set_foreground(self.group)
                os.kill(os.getppid(), signal.SIGSTOP)

    def resumed(self) -> None:
        """Return the terminal to the process after ``fg``; after ``bg``, continue the process in the background."""
        if self._process is None:
            return
        if self._foreground_group() == self.group:
            self._set_foreground(self._process)
        with suppress(ProcessLookupError):
            os.killpg(self._process, signal.SIGCONT)

    def _foreground_group(self) -> int | None:
        with suppress(OSError, ValueError):
            return os.tcgetpgrp(sys.stdin.fileno())
        return None

    def _set_foreground(self, group: int) -> None:
        # A background process is suspended for this, unless it blocks the signal.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
        try:
            with suppress(OSError):  # the terminal was closed, or the group is gone
                os.tcsetpgrp(sys.stdin.fileno(), group)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
