"""Starts workers as forks of a process that has imported their modules: most of a worker's start is imports."""

import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from typing import Any

#: What a worker imports before it loads its application.
MODULES = (
    "celery.app.amqp",
    "celery.bin.worker",
    "celery.concurrency.prefork",
    "celery.events.receiver",
    "celery.loaders.app",
    "celery.utils.debug",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer",
    "email.generator",
    "encodings.idna",
    "framework.broker.sqlite.transport",
    "framework.celery.app",
    "framework.celery.heartbeats",
    "framework.celery.validation",
    "framework.cli.command",
    "framework.contrib.accounts",
    "framework.contrib.cards",
    "framework.contrib.csv_export",
    "framework.contrib.mail",
    "framework.contrib.yara_scan",
    "framework.failures.recorder",
    "framework.progress.tracking",
    "framework.schedule.scheduler",
)
#: Bytes of a request; a process's environment is most of it.
REQUEST_BYTES = 200_000


class ForkedWorker:
    """``framework worker`` in a new process group, with its output in a pipe; used as a `subprocess.Popen`."""

    def __init__(self, requests: socket.socket, command: dict[str, Any]) -> None:
        self._requests = requests
        self.returncode: int | None = None
        output, end = os.pipe()
        self.stdout = os.fdopen(output)
        socket.send_fds(requests, [json.dumps(command).encode()], [end])
        os.close(end)
        self.pid: int = json.loads(requests.recv(REQUEST_BYTES))

    def poll(self) -> int | None:
        """Return the exit status, negative after a signal; None while the process runs."""
        if self.returncode is None:
            self._requests.send(json.dumps({"wait": self.pid}).encode())
            self.returncode = json.loads(self._requests.recv(REQUEST_BYTES))
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the process and return its exit status.

        Raises:
            subprocess.TimeoutExpired: it still runs after that many seconds.
        """
        if (status := self.poll()) is not None:
            return status
        process = os.pidfd_open(self.pid)
        try:
            select.select([process], [], [], timeout)
        finally:
            os.close(process)
        if (status := self.poll()) is None:
            raise subprocess.TimeoutExpired("framework worker", timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The process that is forked, from the first worker on; it ends with the tests.

    Args:
        root: The folder of the packages that workers import.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._server: subprocess.Popen[bytes] | None = None

    @cached_property
    def _requests(self) -> socket.socket:
        requests, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with end:
            self._server = subprocess.Popen(
                [sys.executable, __file__, str(end.fileno())],
                env={**os.environ, "PYTHONPATH": self._root},
                pass_fds=[end.fileno()],
                start_new_session=True,
            )
        return requests

    def start_worker(
        self, folder: str, environment: dict[str, str], *options: str
    ) -> "ForkedWorker | subprocess.Popen[str]":
        """Start a worker in a folder; as a new program where it has other variables that Python reads at its start."""
        if sys.platform != "linux" or start_variables(environment) != start_variables(os.environ):
            return subprocess.Popen(
                [sys.executable, "-m", "framework", "worker", *options],
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                process_group=0,
            )
        return ForkedWorker(self._requests, {"folder": folder, "environment": environment, "options": options})

    def close(self) -> None:
        """End the server; what was started before ends by itself."""
        if self._server:
            self._requests.close()
            self._server.wait()


def start_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that Python and the dynamic linker read when a program starts."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(("PYTHON", "LD_")) and name != "PYTHONPATH"
    }


def serve(requests: socket.socket) -> dict[str, Any] | None:
    """Start workers and wait for them, as requested; return in each worker with its command, or at the end."""
    for module in MODULES:
        import_module(module)
    gc.collect()
    gc.freeze()
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, REQUEST_BYTES, 1)
        if not message:
            return None
        command: dict[str, Any] = json.loads(message)
        if "wait" in command:
            pid, status = os.waitpid(command["wait"], os.WNOHANG)
            requests.send(json.dumps(os.waitstatus_to_exitcode(status) if pid else None).encode())
        elif pid := os.fork():
            os.setpgid(pid, pid)
            requests.send(json.dumps(pid).encode())
            os.close(descriptors[0])
        else:
            requests.close()
            os.setpgid(0, 0)
            for standard in (1, 2):
                os.dup2(descriptors[0], standard)
            os.close(descriptors[0])
            return command


def become(folder: str, environment: dict[str, str], options: list[str]) -> None:
    """Run the command in this process as ``python -m framework worker`` does."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv = ["framework", "worker", *options]
    sys.path[0] = folder
    sys.path[1:1] = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path not in sys.path]
    runpy.run_module("framework", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    if request := serve(socket.socket(fileno=int(sys.argv[1]))):
        become(**request)
