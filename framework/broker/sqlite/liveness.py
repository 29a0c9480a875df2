"""Registers connections; a record lock, which the system releases with the process, proves that one is alive."""

import fcntl
import os
import weakref
from pathlib import Path
from threading import Lock

from framework.broker.sqlite.database import Database, Transaction
from framework.broker.sqlite.wakeup import WakeupPipe

__all__ = ["LivenessLocks", "Registration", "locks_of"]


class LivenessLocks:
    """The lock file beside a broker's file; connection ``n`` is alive while byte ``n`` is locked.

    POSIX record locks belong to a process: a fork does not inherit them, ``kill -9`` frees them, a stopped process
    keeps them. Closing any descriptor of the file would free them all, so a process opens it once.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._held: set[int] = set()
        self._closing = weakref.finalize(self, os.close, self._fd)

    def hold(self, owner: int) -> bool:
        """Lock the byte of ``owner`` for this process; return False if another process has locked it."""
        if self.alive(owner):
            return False
        fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, owner)
        self._held.add(owner)
        return True

    def release(self, owner: int) -> None:
        """Release the lock of ``owner``, which counts as dead from now on."""
        if owner in self._held:
            self._held.discard(owner)
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, owner)

    def alive(self, owner: int) -> bool:
        """Return whether the process of ``owner`` still exists and has not released it."""
        if owner in self._held:
            return True
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, owner)
        except (BlockingIOError, PermissionError):
            return True
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, owner)
        return False

    def are_in(self, path: Path) -> bool:
        """Return whether ``path`` is still the file that was opened."""
        try:
            return os.path.samestat(os.fstat(self._fd), path.stat())
        except OSError:
            return False

    def forget(self) -> None:
        """Close the file in a forked child, which inherited the descriptor without its locks."""
        self._held.clear()
        self._closing()


_open: dict[Path, LivenessLocks] = {}
_opening = Lock()


def locks_of(path: Path) -> LivenessLocks:
    """Return the liveness locks of the broker file ``path``: one object for each file and process."""
    beside = path.with_name(f"{path.name}-owners")
    with _opening:
        locks = _open.get(beside)
        if locks is None or not locks.are_in(beside):
            locks = _open[beside] = LivenessLocks(beside)
        return locks


def _forget_inherited() -> None:
    global _opening
    _opening = Lock()
    for locks in _open.values():
        locks.forget()
    _open.clear()


os.register_at_fork(after_in_child=_forget_inherited)


class Registration:
    """The number, lock and wake-up pipe of a connection that holds messages or exclusive queues."""

    def __init__(self, database: Database) -> None:
        self._locks = locks_of(database.path)
        with database.transaction() as transaction:
            self.number = _new_number(transaction, self._locks)
        # A connection that is garbage-collected without being closed counts as dead.
        self._release = weakref.finalize(self, self._locks.release, self.number)
        self.wakeup = WakeupPipe(database.path, self.number)

    def end(self) -> None:
        """Release the lock and remove the wake-up pipe."""
        self.wakeup.close()
        self._release()


def _new_number(transaction: Transaction, locks: LivenessLocks) -> int:
    # A process that still uses a deleted broker file of this name may hold the number.
    while not locks.hold(number := int(transaction.value("insert into owner default values returning id"))):
        transaction.execute("delete from owner where id = ?", (number,))
    return number
