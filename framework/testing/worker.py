"""Starts a real worker for tests, in a separate process."""

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
from framework.testing.reaper import end_with_this_process

__all__ = ["BROKER_VARIABLES", "Worker"]

#: The environment variables that name a broker, each stronger than settings: Celery's command line reads the last.
BROKER_VARIABLES = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "BROKER_URL")

#: Seconds that the worker has to become ready, and to end after SIGTERM.
READY_TIMEOUT_SECONDS, GRACE_SECONDS = 60.0, 20.0
#: Lines of the log that the error contains when the worker does not become ready.
LAST_LINES = 8
# A single worker has no other workers to exchange state with.
OPTIONS = ("--concurrency=2", "--loglevel=INFO", "--without-mingle", "--without-gossip")


class Worker:
    """A worker that runs inside ``with``, with the modules and the environment that the test has at its start.

    Its processes end with the test, even when that is killed.

    Args:
        broker_url: the broker of its tasks, such as ``sqlite:////tmp/broker.db``.
        options: more options of the command ``framework worker``, such as ``"--queues=mail"``.
        app: the application, as for ``--app``; by default that of ``CELERY_APP``, or else the framework's own.

    Raises:
        ServiceDied: the worker ended, or was not ready within a minute; the message contains the last lines of its log.
    """

    def __init__(self, broker_url: str, *options: str, app: str | None = None) -> None:
        self.broker_url = broker_url
        app = app or os.environ.get("CELERY_APP") or "framework.celery.celery"
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
        """Its output so far."""
        return self._log.read_text(errors="replace")

    def start(self) -> None:
        """Start the worker, also again after its end, and return when it is ready; ``with`` calls this."""
        pipe, worker_end = os.pipe()
        with self._log.open("ab") as log, os.fdopen(pipe, "rb", 0) as ready:
            try:
                self._process = Popen(
                    self._command,
                    env=self._environment() | {READY_FD_VARIABLE: str(worker_end)},
                    stdin=DEVNULL,
                    stdout=log,
                    stderr=STDOUT,
                    pass_fds=[worker_end],
                    process_group=0,
                )
            finally:
                os.close(worker_end)
            self._dismiss: Callable[[], object] = end_with_this_process(self.pid, self._folder)
            if not (select([ready], [], [], READY_TIMEOUT_SECONDS)[0] and ready.read(1)):
                self.kill()
                raise self._never_ready()

    def stop(self) -> None:
        """Shut the worker down after its running tasks. Harmless when it has ended already."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Kill all its processes with SIGKILL: the broker requeues the tasks that were running."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._dismiss()

    def _environment(self) -> dict[str, str]:
        brokers = dict.fromkeys(BROKER_VARIABLES, self.broker_url)
        return {**os.environ, **brokers, "PYTHONPATH": os.pathsep.join(sys.path)}

    def _never_ready(self) -> ServiceDied:
        status = self._process.returncode
        how = f"ended with exit status {status}" if status >= 0 else f"was not ready in {READY_TIMEOUT_SECONDS:g} s"
        return ServiceDied.of(how, "worker", None, self.output.splitlines()[-LAST_LINES:])
