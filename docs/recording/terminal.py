"""A terminal with a shell in it, whose output can be read."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Condition, Thread

PROMPT = "\x1e"  # a character that no program prints
CTRL_C = "\x03"
# Job control needs a controlling terminal; a new session has none until it takes one.
SHELL = """
import fcntl, os, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp("bash", ["bash", "--noprofile", "--norc", "--noediting", "-i"])
"""


class Terminal:
    """A bash in a pseudo terminal, so that programs print what they print for people."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._text = ""
        self._mark = 0
        self._commands = 0
        self._more = Condition()
        self._open = True
        self._file, terminal = pty.openpty()
        self._shell = subprocess.Popen(
            [sys.executable, "-c", SHELL],
            cwd=folder,
            env={**environment, "PS1": PROMPT, "PS2": "", "TERM": "xterm-256color"},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        self._thread = Thread(target=self._read, daemon=True)
        self._thread.start()
        self.enter("stty -echo cols 100 rows 50")
        self.wait_for(self.is_ready, 10)

    def enter(self, command: str) -> None:
        """Type a line."""
        self._commands += 1
        self.discard_output()
        self._write(f"{command}\n")

    def stop(self) -> None:
        """Press Ctrl-C."""
        self._write(CTRL_C)

    def output(self) -> str:
        """Return the output since the last command was typed, or since the last `discard_output`."""
        with self._more:
            return self._text[self._mark :].replace(PROMPT, "")

    def discard_output(self) -> None:
        """Discard the output up to now."""
        with self._more:
            self._mark = len(self._text)

    def is_ready(self) -> bool:
        """Return whether the last command has ended, or was sent to the background."""
        return self._text.count(PROMPT) > self._commands

    def wait_for(self, condition: Callable[[], object], seconds: float) -> bool:
        """Wait until a condition holds or the time is over; return whether it holds."""
        with self._more:
            return bool(self._more.wait_for(lambda: condition() or not self._open, seconds) and condition())

    def wait_until_quiet(self, quiet: float, seconds: float) -> None:
        """Wait until there was no output for ``quiet`` seconds, for at most ``seconds``."""
        end = time.monotonic() + seconds
        with self._more:
            while time.monotonic() < end and self._more.wait(quiet):
                pass

    def close(self) -> None:
        """Stop the running command as with Ctrl-C, and kill the processes that do not end."""
        if not self.is_ready():
            self.stop()
            self.wait_for(self.is_ready, 15)
        self.enter("kill $(jobs -p) 2>/dev/null; wait; exit")
        if not self.wait_for(lambda: not self._open, 15):
            self._kill()
        self._shell.wait()
        self._thread.join()
        os.close(self._file)

    def _kill(self) -> None:
        for process in subprocess.check_output(["ps", "-A", "-o", "pid="], text=True).split():
            with suppress(ProcessLookupError, PermissionError):
                if os.getsid(int(process)) == self._shell.pid:
                    os.kill(int(process), signal.SIGKILL)

    def _write(self, text: str) -> None:
        os.write(self._file, text.encode())

    def _read(self) -> None:
        # At the end of the last process, reading a pseudo terminal gives EOF on macOS and EIO on Linux.
        with suppress(OSError):
            while more := os.read(self._file, 65536):
                with self._more:
                    self._text += more.decode(errors="replace")
                    self._more.notify_all()
        with self._more:
            self._open = False
            self._more.notify_all()
