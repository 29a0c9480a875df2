"""Errors of the command line and of ``framework up``."""

from collections.abc import Collection
from pathlib import Path
from typing import Self

from framework.errors.base import FrameworkError, describe, message


class PortTaken(FrameworkError, OSError):
    """A server cannot listen where it should."""

    @classmethod
    def at(cls, host: str, port: int, cause: OSError) -> Self:
        """Name the address and the cause."""
        fix = "Stop what uses it, or take another port."
        return cls(message(f"Cannot listen on {host}, port {port}", cause.strerror, fix=fix))


class FolderNotUsable(FrameworkError):
    """The folder for the launcher's own files cannot be used."""

    @classmethod
    def at(cls, path: Path, cause: OSError) -> Self:
        """Name the path that cannot be written, and the cause."""
        return cls(
            message(
                f"{path} cannot be written",
                cause.strerror,
                fix="`framework up` keeps its broker and logs there: run it in a folder that you may write to.",
            )
        )


class AlreadyUp(FrameworkError):
    """Another ``framework up`` runs in this folder."""

    @classmethod
    def at(cls, folder: Path, pid: str) -> Self:
        """Name the folder and the process."""
        broker = f"CELERY_BROKER_URL=sqlite:///{folder / 'broker.db'}"
        return cls(
            message(
                f"`framework up` runs in {folder.parent} already (process {pid})",
                fix=f"Stop that one first, or use its broker: {broker}",
            )
        )

    @classmethod
    def after_kill(cls, folder: Path) -> Self:
        """Name the folder, where a service of one that was killed has not ended yet."""
        problem = f"A worker or beat of a killed `framework up` still runs in {folder.parent}"
        return cls(message(problem, fix="It ends within seconds: wait, or kill it."))


class ResultElsewhere(FrameworkError):
    """A result went to the process that called the task, and no other one can read it."""

    @classmethod
    def of(cls, task_id: str) -> Self:
        """Name the task, and say how its end can be read from here."""
        return cls(
            message(
                f"The result of the task {task_id!r} cannot be read here",
                "over rpc:// it goes to the process that called the task",
                fix=f"Read its last state with `framework watch {task_id}` where the task has track=True, or set "
                "result_backend to a database.",
            )
        )


class ServiceDied(FrameworkError):
    """The worker or beat ended unexpectedly."""

    #: As in sysexits.h: software that ended unexpectedly.
    exit_code = 70

    @classmethod
    def of(cls, how: str, name: str, log: Path | None, last_lines: Collection[str]) -> Self:
        """Say how which service ended, its last lines, and where the rest is."""
        where_to_look = f"Its output is in {log}" if log else "Its output is above"
        first = message(f"The {name} {how}", fix=f"{where_to_look}{':' if last_lines else '.'}")
        return cls("\n    ".join([first, *last_lines]))


class CommandNotFound(FrameworkError):
    """The command to run does not exist."""

    exit_code = 127

    @classmethod
    def named(cls, name: str) -> Self:
        """Name it."""
        fix = f"Check its spelling, or give its path: framework up -- ./{name}"
        return cls(message(f"There is no command {name!r}", fix=fix))


class CommandNotRunnable(FrameworkError):
    """The command to run exists and cannot be started."""

    exit_code = 126

    @classmethod
    def named(cls, name: str, cause: OSError) -> Self:
        """Name it, and the cause."""
        fix = f"Is it executable? (chmod +x {name})"
        return cls(message(f"The command {name!r} cannot be run", cause.strerror, fix=fix))


class NoWorker(FrameworkError):
    """Tasks were queued and no worker is there to run them."""

    @classmethod
    def at(cls, url: str) -> Self:
        """Name the broker by its ``url`` (already without password), and how a worker is started."""
        return cls(
            message(
                f"No worker answers at {url}: start one with `framework worker` in another terminal",
                fix="The queued tasks wait for it.",
            )
        )


class TaskFailed(FrameworkError):
    """A task that was waited for failed."""

    @classmethod
    def named(cls, what: str, cause: BaseException) -> Self:
        """Say which task, and the cause."""
        return cls(f"{what} failed: {cause.message if isinstance(cause, FrameworkError) else describe(cause)}")


class TookTooLong(FrameworkError):
    """A task that was waited for did not end in time."""

    @classmethod
    def named(cls, what: str, seconds: float, state: str) -> Self:
        """Say which task, for how long, and its state."""
        return cls(
            message(
                f"{what} is not done after {seconds:g} s ({state})", fix="The worker's output says what it is doing."
            )
        )
