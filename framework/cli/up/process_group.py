"""A program in its own process group, which is ended as a whole."""

import asyncio
import os
import signal
from asyncio.subprocess import Process
from contextlib import suppress
from typing import Any, Self

__all__ = ["ProcessGroup"]


#: Seconds that a process has to end after SIGTERM.
GRACE_SECONDS = 10.0


class ProcessGroup:
    """A running program and the processes that it starts."""

    def __init__(self, process: Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, *argv: str, **options: Any) -> Self:
        """Start a program; see ``subprocess.Popen`` for the options."""
        return cls(await asyncio.create_subprocess_exec(*argv, process_group=0, **options))

    async def wait(self) -> int:
        """Wait for the program's end; return its exit status, or minus the signal that ended it."""
        return await self.process.wait()

    async def ended_within(self, seconds: float, hurry: asyncio.Event) -> bool:
        """Return whether the program ends within ``seconds``; False at once when ``hurry`` is set."""
        waits = [asyncio.create_task(each) for each in (self.process.wait(), hurry.wait())]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()
        return self.process.returncode is not None

    async def finish(self, hurry: asyncio.Event) -> int:
        """Wait `GRACE_SECONDS` for a program that was signalled to end, then kill its group; return as `wait` does."""
        await self.ended_within(GRACE_SECONDS, hurry)
        self.send_group(signal.SIGKILL)
        return await self.wait()

    def send(self, number: int) -> None:
        """Send a signal to the program alone."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    def send_group(self, number: int) -> None:
        """Send a signal to the program's group, also after the program's end."""
        # Some systems raise PermissionError for a group of zombies.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)
