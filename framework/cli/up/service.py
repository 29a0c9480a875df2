"""The worker and beat of ``framework up``: starts them, waits until they are ready, and reports their death."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from framework.cli.up.process_group import ProcessGroup
from framework.config import LAUNCHER_FD_VARIABLE, READY_FD_VARIABLE
from framework.errors import FrameworkError, ServiceDied

__all__ = ["Service"]


#: Seconds that a service has to become ready.
READY_TIMEOUT_SECONDS = 60.0
#: Lines of a dead service's log that its error contains.
LAST_LINES = 8


class Service(ProcessGroup):
    """A Celery service: a process that announces when it is ready."""

    name: str
    #: The file for its output; None for the terminal.
    log: Path | None
    _pipe: int
    _held_open: int

    @classmethod
    async def begin(cls, name: str, *options: str, environment: Mapping[str, str], log: Path | None, lock: int) -> Self:
        """Start ``framework name options...``, which holds ``lock``, and ends when this process does."""
        pipe, service_end = os.pipe()
        launcher_gone, held_open = os.pipe()  # the latter is closed when this process ends, however it does
        try:
            service = await cls.start(
                *(sys.executable, "-m", "framework", name, *options),
                env={**environment, READY_FD_VARIABLE: str(service_end), LAUNCHER_FD_VARIABLE: str(launcher_gone)},
                stdin=subprocess.DEVNULL,
                stdout=log.open("wb") if log else None,
                stderr=subprocess.STDOUT if log else None,
                pass_fds=[service_end, launcher_gone, lock],
            )
        finally:
            os.close(service_end)
            os.close(launcher_gone)
        service.name, service.log, service._pipe, service._held_open = name, log, pipe, held_open
        return service

    async def wait_until_ready(self) -> str:
        """Wait until the service is ready; return its description of itself.

        Raises:
            ServiceDied: the service was not ready within `READY_TIMEOUT_SECONDS`.
        """
        lines = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(self._pipe, "rb", 0)
        )
        try:
            async with asyncio.timeout(READY_TIMEOUT_SECONDS):
                line = await lines.readline() or await self._exit_before_ready()
                return line.decode().strip()
        except TimeoutError:
            raise ServiceDied.of(
                f"was not ready in {READY_TIMEOUT_SECONDS:g} s", self.name, self.log, self._last_lines()
            ) from None
        finally:
            transport.close()

    async def raise_on_exit(self) -> None:
        """Wait for an unexpected end of the service.

        Raises:
            ServiceDied: the service ended; the message contains the last lines of its log.
            FrameworkError: the service ended with this error.
        """
        status = await self.wait()
        last = self._last_lines()
        if status == FrameworkError.exit_code and last and last[-1].startswith("Error: "):
            raise FrameworkError(last[-1].removeprefix("Error: "))
        how = f"ended with exit status {status}" if status >= 0 else f"was killed by signal {-status}"
        raise ServiceDied.of(how, self.name, self.log, last)

    async def _exit_before_ready(self) -> bytes:
        """Wait for the end of a service that has closed its end of the pipe without announcing that it is ready."""
        await self.raise_on_exit()
        return b""

    def _last_lines(self) -> list[str]:
        output = self.log.read_text(errors="replace") if self.log else ""
        return [line for line in output.splitlines() if line.strip()][-LAST_LINES:]
