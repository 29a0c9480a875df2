"""A run on one broker: its processes, the samples while they work, and the count of the results of all calls."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import probes
import records
from growth import TOLERANCES, Growth, growth

from framework.testing.reaper import end_with_this_process
from framework.testing.worker import Worker

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CALLERS, WORKERS = 2, 2
#: Seconds of the shortest run.
LEAST_SECONDS = 30.0
#: Tasks that have ended when the run begins to count: each process has then imported what it needs.
FIRST_TASKS = 500
#: Seconds without a task that ends, after which the rest counts as lost.
QUIET_SECONDS = 60.0
GRACE_SECONDS = 30.0


class Process:
    """A script of this folder in a process that ends with this one."""

    def __init__(self, folder: Path, script: str, *args: object) -> None:
        name = "-".join([script, *map(str, args)])
        self._output, self._errors = folder / f"{name}.output", folder / f"{name}.errors"
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            command = [sys.executable, str(HERE / script), *map(str, args)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=output, stderr=errors, process_group=0, cwd=HERE
            )
        self._dismiss = end_with_this_process(self.pid, folder)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def report(self) -> dict[str, Any]:
        """The report that it printed; empty before its work is done."""
        text = self._output.read_text()
        return json.loads(text) if text.endswith("\n") else {}

    def check(self) -> None:
        """Raise SystemExit if it has ended."""
        if self._process.poll() is not None:
            raise SystemExit(f"{self._process.args} ended:\n{self._errors.read_text()[-3000:]}")

    def stop(self) -> None:
        """Close its input, at which it ends."""
        self._process.stdin.close()
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._dismiss()


class Soak:
    """Workers, callers and the process for failed tasks on one broker, until the stack is closed.

    Args:
        folder: an empty folder for the records.
        url: the broker.
        calls: how many calls there are, of all callers together.
        interval: seconds between two samples of the processes.
        stack: ends the processes.
    """

    def __init__(self, folder: Path, url: str, calls: int, interval: float, stack: ExitStack) -> None:
        self.folder = folder
        self.interval = interval
        self.series: dict[str, list[tuple[float, float]]] = {}
        self.kinds: dict[str, str] = {}
        self.begin = self.end = 0.0
        self._next_broker_sample = 0.0
        os.environ |= {"SOAK_FOLDER": str(folder), "CELERY_BROKER_URL": url, "PYTHONPATH": f"{HERE}:{ROOT}"}
        sys.path[:] = [str(HERE), str(ROOT), *sys.path]
        self.workers = [stack.enter_context(self._worker(url, number)) for number in range(1, WORKERS + 1)]
        numbered = [(number, calls // CALLERS, LEAST_SECONDS) for number in range(1, CALLERS + 1)]
        self.callers = [self._start(stack, "caller.py", *args) for args in numbered]
        self.failed_tasks = self._start(stack, "failed_tasks.py")
        self.pids = dict(self._pids())

    def _worker(self, url: str, number: int) -> Worker:
        return Worker(url, "--loglevel=CRITICAL", f"--hostname=worker{number}@%h", app="workload")

    def _start(self, stack: ExitStack, script: str, *args: object) -> Process:
        process = Process(self.folder, script, *args)
        stack.callback(process.stop)
        return process

    def _pids(self) -> Iterator[tuple[str, int]]:
        for number, worker in enumerate(self.workers, start=1):
            yield f"worker {number}", worker.pid
            for place, child in enumerate(probes.children(worker.pid), start=1):
                yield f"worker {number}, process {place}", child
        for number, caller in enumerate(self.callers, start=1):
            yield f"caller {number}", caller.pid
        yield "failed tasks", self.failed_tasks.pid

    def run(self, broker: Callable[[], Iterable[probes.Sample]]) -> None:
        """Sample until the load ends, then wait until each task has ended, or none ends any more."""
        self.begin = moved = time.monotonic()
        ended = -1
        while not self.complete() and time.monotonic() < moved + QUIET_SECONDS:
            for process in (*self.callers, self.failed_tasks):
                process.check()
            if not self.load_ended():
                self.sample(broker)
            if ended < FIRST_TASKS:
                self.begin = time.monotonic()
            if self.ended() != ended:
                ended, moved = self.ended(), time.monotonic()
            time.sleep(self.interval)

    def sample(self, broker: Callable[[], Iterable[probes.Sample]]) -> None:
        """Add a sample of each figure to its series; the broker, which costs more, has a longer interval."""
        for name, pid in self.pids.items():
            self._note(probes.process(name, pid))
        for number in range(1, WORKERS + 1):
            self._note(probes.timers(f"worker {number}", self.folder / f"timers.worker{number}"))
        if time.monotonic() >= self._next_broker_sample:
            self._note(broker())
            print(f"{self.end - self.begin:6,.0f} s: {self.ended():9,} tasks have ended", file=sys.stderr)
            self._next_broker_sample = time.monotonic() + 5 * self.interval

    def _note(self, taken: Iterable[probes.Sample]) -> None:
        for name, kind, value in taken:
            self.end = time.monotonic()
            self.kinds[name] = kind
            self.series.setdefault(name, []).append((self.end, value))

    def load_ended(self) -> bool:
        """Return whether each caller has made its calls."""
        return all(caller.report for caller in self.callers)

    def ended(self) -> int:
        """Return how many tasks have ended."""
        return self._count("runs") + self._count("dropped")

    def _count(self, name: str) -> int:
        return sum(records.count(self.folder, name, caller) for caller in range(1, CALLERS + 1))

    def complete(self) -> bool:
        """Return whether each caller has made its calls, and no task is lost."""
        return self.load_ended() and self.ended() >= self._count("accepted") and not self.counts()["lost"]

    def growths(self) -> dict[str, Growth]:
        """Return how each figure has grown."""
        return {
            name: growth(series, self.begin, self.end, TOLERANCES[self.kinds[name]])
            for name, series in self.series.items()
        }

    def counts(self) -> Counter[str]:
        """Return the counts of all calls and of their tasks."""
        counts = Counter({"lost": 0, "run twice": 0, "unexpected failures": len(self.unexpected())})
        for caller, process in enumerate(self.callers, start=1):
            ran = records.read(self.folder, "runs", caller)
            ended = {*ran, *records.read(self.folder, "dropped", caller)}
            counts.update(process.report.get("counts", {}))
            counts["lost"] += len({*records.read(self.folder, "accepted", caller)} - ended)
            counts["run twice"] += len(ran) - len(set(ran))
        return counts

    def unexpected(self) -> list[str]:
        """Return a line for each task that should not have failed."""
        file = self.folder / "unexpected"
        return file.read_text().splitlines() if file.exists() else []

    def errors(self) -> list[str]:
        """Return the first errors of calls and of tasks that should not have failed."""
        hung = {"errors": ["a caller did not make all of its calls"]}
        found = [error for caller in self.callers for error in (caller.report or hung)["errors"]]
        return [*found, *self.unexpected()[:10]]
