"""The terminal, lent to the COMMAND of ``framework up`` as a shell lends it: keys and Ctrl-C go there."""

import os
import signal
import sys
from contextlib import suppress

__all__ = ["Terminal"]


class Terminal:
    """The terminal of this process's parent, if that has one and is in its foreground."""

    def __init__(self) -> None:
        self.group = os.getpgid(os.getppid())
        self._lent_to: int | None = None

    def lend(self, process: int) -> None:
        """Put the group of ``process`` into the foreground; nothing happens where the foreground is not ours."""
        if self._foreground() == self.group:
            self._lent_to = process
            self.resumed()  # it may have been suspended for reading before the terminal was its own

    def take_back(self) -> None:
        """Put our own group into the foreground again, for good."""
        if self._lent_to is not None:
            self._give(self.group)
            self._lent_to = None

    def suspended(self) -> None:
        """Hand the terminal to the shell when Ctrl-Z suspended whom it is lent to."""
        with suppress(ChildProcessError):
            if self._lent_to is not None and os.waitid(os.P_PID, self._lent_to, os.WSTOPPED | os.WNOHANG):
                self._give(self.group)
                os.kill(os.getppid(), signal.SIGSTOP)

    def resumed(self) -> None:
        """Lend it again after the shell's ``fg``; after ``bg``, the process goes on without it."""
        if self._lent_to is None:
            return
        if self._foreground() == self.group:
            self._give(self._lent_to)
        with suppress(ProcessLookupError):
            os.killpg(self._lent_to, signal.SIGCONT)

    def _foreground(self) -> int | None:
        with suppress(OSError, ValueError):
            return os.tcgetpgrp(sys.stdin.fileno())
        return None

    def _give(self, group: int) -> None:
        # Whoever is not in the foreground is suspended for this, unless the signal is blocked.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
        try:
            with suppress(OSError):  # the terminal was closed, or the group is gone
                os.tcsetpgrp(sys.stdin.fileno(), group)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
