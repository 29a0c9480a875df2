"""Wakes sleeping consumers: each connection has a named pipe beside the broker's file."""

import os
import select
import weakref
from pathlib import Path

__all__ = ["WakeupPipe", "remove", "wake"]


class WakeupPipe:
    """A connection's named pipe; a process that commits changes for the connection writes a byte to it."""

    def __init__(self, path: Path, owner: int) -> None:
        folder = _folder(path)
        folder.mkdir(mode=0o700, exist_ok=True)
        self._pipe = folder / str(owner)
        self._pipe.unlink(missing_ok=True)
        os.mkfifo(self._pipe, 0o600)
        # Open for writing too: without a writer, a pipe reads as ended and would wake its reader all the time.
        self._fd = os.open(self._pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._closing = weakref.finalize(self, os.close, self._fd)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable with a wake-up."""
        return self._fd

    def wake(self) -> None:
        """Wake this connection, which sleeps in another thread or in an event loop."""
        _write(self._fd)

    def clear(self) -> bool:
        """Discard the wake-ups so far; return whether there were any."""
        try:
            return bool(os.read(self._fd, 65536))
        except BlockingIOError:
            return False

    def wait(self, seconds: float) -> None:
        """Sleep until a wake-up, at most ``seconds``."""
        self._poll.poll(max(0.0, seconds) * 1000)

    def close(self) -> None:
        """Close and remove the pipe."""
        self._closing()
        self._pipe.unlink(missing_ok=True)


def wake(path: Path, owner: int) -> None:
    """Wake the connection ``owner`` of the broker file ``path``; do nothing if it is closed."""
    try:
        fd = os.open(_folder(path) / str(owner), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        _write(fd)
    finally:
        os.close(fd)


def remove(path: Path, owner: int) -> None:
    """Remove the pipe of a dead connection."""
    (_folder(path) / str(owner)).unlink(missing_ok=True)


def _folder(path: Path) -> Path:
    return path.with_name(f"{path.name}-wake")


def _write(fd: int) -> None:
    try:
        os.write(fd, b".")
    except (BlockingIOError, BrokenPipeError):
        return  # a full pipe is readable already
