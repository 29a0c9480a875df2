"""A process in a group of its own, which ends with everything it started."""

import asyncio
import os
import signal
from asyncio.subprocess import Process
from contextlib import suppress
from typing import Any, Self

__all__ = ["ProcessGroup"]


#: Seconds that a process has to end in good order.
GRACE = 10.0


class ProcessGroup:
    """A running program and the processes that it starts."""

    def __init__(self, process: Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, *argv: str, **options: Any) -> Self:
        """Start a program; see ``subprocess.Popen`` for the options."""
        return cls(await asyncio.create_subprocess_exec(*argv, process_group=0, **options))

    async def wait(self) -> int:
        """Wait for the program's end; returns its exit status, or minus the signal that ended it."""
        return await self.process.wait()

    async def ended_within(self, seconds: float, hurry: asyncio.Event) -> bool:
        """Whether the program ends in so many seconds; False at once when ``hurry`` is set."""
        waits = [asyncio.create_task(each) for each in (self.process.wait(), hurry.wait())]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()
        return self.process.returncode is not None

    async def finish(self, hurry: asyncio.Event) -> int:
        """Wait `GRACE` seconds for a program that was told to end, then kill it and its group; returns as `wait`."""
        await self.ended_within(GRACE, hurry)
        self.send_group(signal.SIGKILL)
        return await self.wait()

    def send(self, how: int) -> None:
        """Send a signal to the program alone."""
        with suppress(ProcessLookupError):
            self.process.send_signal(how)

    def send_group(self, how: int) -> None:
        """Send a signal to the program and what it started, also after its end."""
        # Where all of a group are dead and not yet buried, some systems say that it may not be signalled.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, how)
