"""A worker process and its pool, which can be killed in several ways."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path


class Worker:
    """``celery -A APPLICATION worker`` in a folder, with its output in a file.

    Args:
        folder: the project.
        application: the value of ``-A``.
        environment: the variables of the process.
        name: the name of the node and of its output file.
        options: further options of the command.
    """

    def __init__(self, folder: Path, application: str, environment: dict[str, str], name: str, *options: str) -> None:
        self.log = folder / f"{name}.log"
        command = [sys.executable, "-m", "celery", "-A", application, "worker", "--loglevel=info"]
        command += ["--without-mingle", "--without-gossip", "-n", f"{name}@%h", *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def wait_until_ready(self, seconds: float = 180) -> "Worker":
        end = time.monotonic() + seconds
        while " ready." not in self.output:
            assert self.alive, self.output[-3000:]
            assert time.monotonic() < end, self.output[-3000:]
            time.sleep(0.05)
        return self

    def children(self) -> list[int]:
        with suppress(OSError):
            tasks = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
            return [int(pid) for pid in tasks.split()]
        return []

    def memory(self) -> int:
        """Return the resident bytes of the main process."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def kill_child(self, which: int = 0) -> bool:
        children = self.children()
        if not children:
            return False
        with suppress(ProcessLookupError):
            os.kill(children[which % len(children)], signal.SIGKILL)
            return True
        return False

    def kill_main(self) -> None:
        """Kill the main process alone with SIGKILL."""
        self.process.kill()
        self.process.wait(60)

    def kill(self) -> None:
        """Kill all its processes with SIGKILL, as when a machine or container ends."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)

    def stop(self, grace: float = 20) -> bool:
        """Send SIGTERM, and SIGKILL after ``grace`` seconds as an orchestrator; return whether it ended in time."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(grace)
        in_time = not self.alive
        self.kill()
        return in_time
