"""Requests to stop: Ctrl-C, another signal, or the end of the watchdog."""

import asyncio
import os
import signal

from framework.cli.up.watchdog import FORWARDED

__all__ = ["Shutdown", "StopRequested"]


#: Seconds for the shutdown once the watchdog is gone.
ORPHAN_GRACE_SECONDS = 3.0


class StopRequested(Exception):
    """A signal requested the shutdown; ``signal`` is its number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


class Shutdown:
    """Receives requests to stop; a second one sets ``hurry``."""

    def __init__(self, watchdog_gone: int) -> None:
        """Receive signals from now on, also those that were blocked before.

        Args:
            watchdog_gone: a file descriptor that is readable once the watchdog is gone.
        """
        self.requested: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.hurry = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._request, number)
        loop.add_reader(watchdog_gone, self._orphaned, watchdog_gone)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)

    async def wait(self) -> None:
        """Wait for a request, and raise `StopRequested`."""
        raise StopRequested(await asyncio.shield(self.requested))

    def _request(self, number: int) -> None:
        if self.requested.done():
            self.hurry.set()
        else:
            self.requested.set_result(number)

    def _orphaned(self, watchdog_gone: int) -> None:
        asyncio.get_running_loop().remove_reader(watchdog_gone)
        os.close(watchdog_gone)
        self._request(signal.SIGTERM)
        asyncio.get_running_loop().call_later(ORPHAN_GRACE_SECONDS, self.hurry.set)
