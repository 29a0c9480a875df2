"""Errors of the command line and of ``framework up``."""

from collections.abc import Collection
from pathlib import Path
from typing import Self

from framework.errors.base import FrameworkError, describe


class PortTaken(FrameworkError, OSError):
    """A server cannot listen where it should."""

    @classmethod
    def at(cls, host: str, port: int, cause: OSError) -> Self:
        """Name the address and the cause."""
        return cls(f"Cannot listen on {host}, port {port}: {cause.strerror}. Stop what uses it, or take another port.")


class FolderNotUsable(FrameworkError):
    """The folder for the launcher's own files cannot be used."""

    @classmethod
    def at(cls, path: Path, cause: OSError) -> Self:
        """Name what cannot be written, and why."""
        return cls(
            f"{path} cannot be written: {cause.strerror}. `framework up` keeps its broker and logs there: "
            "run it in a folder that you may write to."
        )


class AlreadyUp(FrameworkError):
    """Another ``framework up`` runs in this folder."""

    @classmethod
    def at(cls, folder: Path, pid: str) -> Self:
        """Name the folder and the process."""
        return cls(
            f"`framework up` runs in {folder.parent} already (process {pid}). Stop that one first, or use its broker: "
            f"CELERY_BROKER_URL=sqlite:///{folder / 'broker.db'}"
        )


class ServiceDied(FrameworkError):
    """The worker or beat ended by itself."""

    #: As in sysexits.h: software that ended unexpectedly.
    exit_code = 70

    @classmethod
    def of(cls, how: str, name: str, log: Path | None, last_lines: Collection[str]) -> Self:
        """Say how which service ended, what it said last, and where the rest is."""
        where_to_look = f"Its output is in {log}" if log else "Its output is above"
        return cls("\n    ".join([f"The {name} {how}. {where_to_look}{':' if last_lines else '.'}", *last_lines]))


class CommandNotFound(FrameworkError):
    """The command to run does not exist."""

    exit_code = 127

    @classmethod
    def named(cls, name: str) -> Self:
        """Name it."""
        return cls(f"There is no command {name!r}. Check its spelling, or give its path: framework up -- ./{name}")


class CommandNotRunnable(FrameworkError):
    """The command to run exists and cannot be started."""

    exit_code = 126

    @classmethod
    def named(cls, name: str, cause: OSError) -> Self:
        """Name it, and why."""
        return cls(f"The command {name!r} cannot be run: {cause.strerror}. Is it executable? (chmod +x {name})")


class NoWorker(FrameworkError):
    """Tasks were queued and no worker is there to run them."""

    @classmethod
    def at(cls, url: str) -> Self:
        """Name the broker by its ``url`` (already without password), and how a worker is started."""
        return cls(
            f"No worker answers at {url}: start one with `framework worker` in another terminal. "
            "What was queued waits for it."
        )


class TaskFailed(FrameworkError):
    """A task that was waited for failed."""

    @classmethod
    def named(cls, what: str, cause: BaseException) -> Self:
        """Say which task, and why."""
        return cls(f"{what} failed: {cause.message if isinstance(cause, FrameworkError) else describe(cause)}")


class TookTooLong(FrameworkError):
    """What was waited for did not come in time."""

    @classmethod
    def named(cls, what: str, seconds: float, state: str) -> Self:
        """Say what, for how long, and how far it is."""
        return cls(f"{what} is not done after {seconds:g} s ({state}). The worker's output says what it is doing.")
