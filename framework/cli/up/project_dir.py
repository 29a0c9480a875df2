"""The folder ``.framework`` of a project, with the broker's file, the logs and the lock of ``framework up``."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from framework.errors import AlreadyUp, FolderNotUsable

__all__ = ["ProjectDir"]


class ProjectDir:
    """The folder ``.framework`` in ``project``, readable by its owner alone."""

    def __init__(self, project: Path) -> None:
        self.path = project.absolute() / ".framework"

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Make the folder and lock it until the last process ends that has the file descriptor of the lock.

        Yields:
            The file descriptor. Forks have it; other programs do when it is passed to them.

        Raises:
            FolderNotUsable: the folder cannot be made or written.
            AlreadyUp: another process has locked it.
        """
        with self._open("up.lock").open("r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = lock.read()
                if not _may_run(owner):
                    raise AlreadyUp.after_kill(self.path) from None
                raise AlreadyUp.at(self.path, owner or "starting") from None
            lock.truncate()
            print(os.getpid(), end="", file=lock, flush=True)
            yield lock.fileno()

    def broker_url(self) -> str:
        """Return the URL of the embedded broker in this folder; make its file where there is none.

        Raises:
            FolderNotUsable: the file cannot be made.
        """
        return f"sqlite:///{quote(str(self._open('broker.db')))}"

    def log(self, name: str) -> Path:
        """Return the empty log file of the service ``name``.

        Raises:
            FolderNotUsable: the file cannot be made.
        """
        log = self._open(f"{name}.log")
        log.write_bytes(b"")
        return log

    def _open(self, name: str) -> Path:
        file = self.path / name
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
            os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as exc:
            raise FolderNotUsable.at(file, exc) from exc
        return file


def _may_run(pid: str) -> bool:
    """Return whether a process runs, or is not known: the lock is taken before the id is written."""
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (ValueError, PermissionError):
        pass
    return True
