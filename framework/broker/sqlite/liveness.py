"""Which connections are alive: each holds a record lock, which vanishes with its process."""

import fcntl
import os
import weakref
from pathlib import Path
from threading import Lock

from framework.broker.sqlite.database import Database, Transaction
from framework.broker.sqlite.wakeup import WakeupPipe

__all__ = ["LivenessLocks", "Registration", "locks_of"]


class LivenessLocks:
    """The lock file beside a broker's file; owner ``n`` lives while byte ``n`` is locked.

    POSIX record locks belong to a process: a fork does not inherit them, ``kill -9`` frees them, a stopped process
    keeps them. Closing any descriptor of the file would free them all, so a process opens it once.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._held: set[int] = set()
        self._closing = weakref.finalize(self, os.close, self._fd)

    def hold(self, owner: int) -> bool:
        """Prove from now on that ``owner`` lives in this process; false when somebody else does so."""
        if self.alive(owner):
            return False
        fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, owner)
        self._held.add(owner)
        return True

    def release(self, owner: int) -> None:
        """Let ``owner`` be taken for dead."""
        if owner in self._held:
            self._held.discard(owner)
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, owner)

    def alive(self, owner: int) -> bool:
        """Whether the process of ``owner`` still exists and has not released it."""
        if owner in self._held:
            return True
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, owner)
        except (BlockingIOError, PermissionError):
            return True
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, owner)
        return False

    def are_in(self, path: Path) -> bool:
        """Whether ``path`` is still the file that was opened."""
        try:
            return os.path.samestat(os.fstat(self._fd), path.stat())
        except OSError:
            return False

    def forget(self) -> None:
        """Give the file up in a forked child, which inherited the descriptor without its locks."""
        self._held.clear()
        self._closing()


_open: dict[Path, LivenessLocks] = {}
_opening = Lock()


def locks_of(path: Path) -> LivenessLocks:
    """The owners' locks of the broker file ``path``: one object for each file and process."""
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
    """What a connection needs that is to hold messages, or queues of its own."""

    def __init__(self, store: Database) -> None:
        self._locks = locks_of(store.path)
        with store.writing() as work:
            self.number = _new_number(work, self._locks)
        # A connection that nobody closes is taken for dead as soon as nobody can use it any more.
        self._release = weakref.finalize(self, self._locks.release, self.number)
        self.wakeup = WakeupPipe(store.path, self.number)

    def end(self) -> None:
        """Be taken for dead from now on."""
        self.wakeup.close()
        self._release()


def _new_number(work: Transaction, locks: LivenessLocks) -> int:
    # A number may be taken by somebody who still uses the file that lay here before this one.
    while not locks.hold(number := int(work.value("insert into owner default values returning id"))):
        work.execute("delete from owner where id = ?", (number,))
    return number
