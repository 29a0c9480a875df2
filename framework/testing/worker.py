"""A real worker for tests: a process of its own, on a broker of the test's own."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from select import select
from subprocess import DEVNULL, STDOUT, Popen
from tempfile import mkdtemp
from typing import Self

from framework.config import READY_FD_VARIABLE
from framework.errors import ServiceDied
from framework.testing.reaper import guard

__all__ = ["Worker"]

#: Seconds that it has to become ready, and to end in good order.
PATIENCE, GRACE = 60.0, 20.0
#: How many of its last lines are shown when it does not become ready.
LAST_LINES = 8
# A lone worker has no neighbours to ask what they know.
OPTIONS = ("--concurrency=2", "--loglevel=INFO", "--without-mingle", "--without-gossip")


class Worker:
    """A worker that runs inside ``with``, with the modules and the environment that the test has when it begins.

    No process of it outlives the test, even when that is killed.

    Args:
        broker_url: where it takes its tasks from, such as ``sqlite:////tmp/broker.db``.
        options: more options of the command ``framework worker``, such as ``"--queues=mail"``.
        app: the application, as ``--app`` names it; the framework's own unless given.

    Raises:
        ServiceDied: it ended before it was ready, or is not ready within a minute; its last lines are shown.
    """

    def __init__(self, broker_url: str, *options: str, app: str = "framework.celery.celery") -> None:
        self.broker_url = broker_url
        self._command = [sys.executable, "-m", "framework", "--app", app, "worker", *OPTIONS, *options]

    def __enter__(self) -> Self:
        self._folder = Path(mkdtemp(prefix="worker-"))
        self._log = self._folder / "log"
        self._log.touch()
        try:
            self.start()
        except BaseException:
            shutil.rmtree(self._folder)
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    @property
    def pid(self) -> int:
        """The process id of its main process."""
        return self._process.pid

    @property
    def output(self) -> str:
        """What it has said so far."""
        return self._log.read_text(errors="replace")

    def start(self) -> None:
        """Start it, also again after its end, and return when it takes tasks; at the beginning of ``with``."""
        pipe, theirs = os.pipe()
        with self._log.open("ab") as log, os.fdopen(pipe, "rb", 0) as told:
            try:
                self._process = Popen(
                    self._command,
                    env=self._environment() | {READY_FD_VARIABLE: str(theirs)},
                    stdin=DEVNULL,
                    stdout=log,
                    stderr=STDOUT,
                    pass_fds=[theirs],
                    process_group=0,
                )
            finally:
                os.close(theirs)
            self._dismiss: Callable[[], object] = guard(self.pid, self._folder)
            if not (select([told], [], [], PATIENCE)[0] and told.read(1)):
                self.kill()
                raise self._never_ready()

    def stop(self) -> None:
        """End it in good order: what it runs ends first. Harmless when it has ended already."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE)
        self.kill()

    def kill(self) -> None:
        """End it with all its processes by ``kill -9``: the broker hands what it was running to another worker."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._dismiss()

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "CELERY_BROKER_URL": self.broker_url, "PYTHONPATH": os.pathsep.join(sys.path)}

    def _never_ready(self) -> ServiceDied:
        status = self._process.returncode
        how = f"ended with exit status {status}" if status >= 0 else f"was not ready in {PATIENCE:g} s"
        return ServiceDied.of(how, "worker", None, self.output.splitlines()[-LAST_LINES:])
