"""Being asked to stop: by Ctrl-C, by a signal, or because who waited for us is gone."""

import asyncio
import os
import signal

from framework.cli.up.watchdog import FORWARDED

__all__ = ["Stop", "StopRequested"]


#: Seconds to come down in once nobody waits for us.
ALONE = 3.0


class StopRequested(Exception):
    """We were asked to stop; ``signal`` says how."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


class Stop:
    """Listens for the wish to stop; a second one is the wish to hurry."""

    def __init__(self, gone: int) -> None:
        """Listen from now on, also to the signals that were blocked so far.

        Args:
            gone: a file descriptor that can be read once the waiting process is gone.
        """
        self.asked: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.hurry = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._ask, number)
        loop.add_reader(gone, self._left_alone, gone)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)

    async def wait(self) -> None:
        """Raise `Asked` once we are."""
        raise StopRequested(await asyncio.shield(self.asked))

    def _ask(self, number: int) -> None:
        if self.asked.done():
            self.hurry.set()
        else:
            self.asked.set_result(number)

    def _left_alone(self, gone: int) -> None:
        asyncio.get_running_loop().remove_reader(gone)
        os.close(gone)
        self._ask(signal.SIGTERM)
        asyncio.get_running_loop().call_later(ALONE, self.hurry.set)
