"""The worker and beat of ``framework up``: started, waited for, and what they said when they died."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from framework.cli.up.process_group import ProcessGroup
from framework.config import READY_FD_VARIABLE
from framework.errors import FrameworkError, ServiceDied

__all__ = ["Service"]


#: Seconds that a service has to become ready.
PATIENCE = 60.0
#: How many of its last lines are shown when it dies.
LAST_LINES = 8


class Service(ProcessGroup):
    """A Celery service: a process that says when it is ready."""

    name: str
    #: Where its output goes; None for the terminal.
    log: Path | None
    _pipe: int

    @classmethod
    async def begin(cls, name: str, *options: str, environment: Mapping[str, str], log: Path | None) -> Self:
        """Start ``framework name options...``."""
        pipe, theirs = os.pipe()
        try:
            service = await cls.start(
                *(sys.executable, "-m", "framework", name, *options),
                env={**environment, READY_FD_VARIABLE: str(theirs)},
                stdin=subprocess.DEVNULL,
                stdout=log.open("wb") if log else None,
                stderr=subprocess.STDOUT if log else None,
                pass_fds=[theirs],
            )
        finally:
            os.close(theirs)
        service.name, service.log, service._pipe = name, log, pipe
        return service

    async def ready(self) -> str:
        """Wait until it is ready; returns its own description.

        Raises:
            ServiceDied: it was not ready in `PATIENCE` seconds.
        """
        lines = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(self._pipe, "rb", 0)
        )
        try:
            async with asyncio.timeout(PATIENCE):
                line = await lines.readline() or await self._death()
                return line.decode().strip()
        except TimeoutError:
            raise ServiceDied.of(f"was not ready in {PATIENCE:g} s", self.name, self.log, self._last_lines()) from None
        finally:
            transport.close()

    async def died(self) -> None:
        """Wait for its end, which nobody asked for.

        Raises:
            ServiceDied: it ended; the message has its last lines.
            FrameworkError: it ended with an error of ours, which says enough.
        """
        status = await self.wait()
        last = self._last_lines()
        if status == FrameworkError.exit_code and last and last[-1].startswith("Error: "):
            raise FrameworkError(last[-1].removeprefix("Error: "))
        how = f"ended with exit status {status}" if status >= 0 else f"was killed by signal {-status}"
        raise ServiceDied.of(how, self.name, self.log, last)

    async def _death(self) -> bytes:
        """Its end of the pipe was closed without a word: it is ending."""
        await self.died()
        return b""

    def _last_lines(self) -> list[str]:
        said = self.log.read_text(errors="replace") if self.log else ""
        return [line for line in said.splitlines() if line.strip()][-LAST_LINES:]
