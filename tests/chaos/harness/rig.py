"""One broker, a project on it, publishers and workers, and the count of the results of all calls."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.figures import Call, Figures, figures_of
from harness.table import Row
from harness.worker import Worker
from kombu import Connection
from kombu.exceptions import OperationalError

from framework.broker import register
from framework.testing.rabbitmq import RabbitMQ

ROOT = Path(__file__).parents[3]
SCALE = float(os.environ.get("CHAOS_SCALE", "0.1"))
FULL = SCALE >= 1
ALL_ROWS = FULL or os.environ.get("CHAOS_ROWS") == "all"
FAILED = "celery.failed"
APPLICATION = {
    "ours": "from framework.celery.celery import celery\n",
    "vanilla": (
        "import os\nfrom celery import Celery\n"
        "celery = Celery('vanilla', broker=os.environ['CELERY_BROKER_URL'], include=['probe.tasks.chaos'])\n"
    ),
}
#: Seconds without progress after which the rest counts as lost, and seconds until all calls must have a result.
QUIET, RESULTS_SECONDS = (12, 120) if FULL else (60, 300)
#: Seconds that a call waits for a broker that is away.
PUBLISH_TIMEOUT = 9 if FULL else 60
SETTINGS = "from framework.discovery import find_tasks_in_project\nimports = find_tasks_in_project('probe')\n"
if not FULL:
    # Among other tests a broker may take longer to restart than a call waits by default; the full run has the default.
    SETTINGS += f"task_publish_timeout = {PUBLISH_TIMEOUT}\n"


def scaled(count: float, least: int = 1) -> int:
    """Return a load of the full run, scaled to this run."""
    return max(least, round(count * min(1.0, SCALE)))


def wait_until(condition: Callable[[], object], seconds: float, what: str = "the condition") -> None:
    """Wait for a condition on files that other processes write, which have no event to wait for."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} was not reached in {seconds} s"
        time.sleep(0.02)


class Publisher:
    """A process that calls a task, and its log."""

    def __init__(self, folder: Path, environment: dict[str, str], name: str, plan: dict[str, Any]) -> None:
        self.log = folder / f"{name}.calls"
        self.log.touch()
        command = [sys.executable, str(Path(__file__).with_name("publisher.py")), str(self.log)]
        with (folder / f"{name}.output").open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=output, stderr=output, text=True
            )
        self._send(json.dumps(plan))

    def _send(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().split("\n")[:-1]]

    def calls(self) -> list[Call]:
        found: dict[int, Call] = {}
        for line in self._lines():
            if "begin" in line:
                found[line["begin"]] = Call(line["begin"], None)
            elif "end" in line:
                number = line.pop("end")
                found[number] = Call(number, **line)
        return list(found.values())

    def has_made(self, count: int) -> bool:
        return sum("end" in line for line in self._lines()) >= count

    def wait_for_calls(self, count: int, seconds: float = 120) -> "Publisher":
        wait_until(lambda: self.has_made(count) or self.process.poll() is not None, seconds, f"call {count}")
        return self

    def wait_for_pause(self, seconds: float = 120) -> "Publisher":
        wait_until(lambda: any("paused" in line for line in self._lines()), seconds, "the pause")
        return self

    def resume(self) -> None:
        self._send("")

    def wait(self, seconds: float = 240) -> list[Call]:
        """Wait until the calls are made; a call that does not return in time counts with the seconds until then."""
        began = time.monotonic()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        hung = time.monotonic() - began
        self.end()
        return [replace(call, seconds=hung) if call.ok is None else call for call in self.calls()]

    def end(self) -> None:
        self.process.kill()
        self.process.wait(60)
        if self.process.stdin:
            self.process.stdin.close()


class Rig:
    """A broker, a project, publishers and workers for one row.

    Args:
        profile: "rabbitmq" or "sqlite" for the framework, "vanilla" for plain Celery on RabbitMQ.
        folder: an empty folder.
        url: the broker's URL.
        rows: the rows of the table.
        node: the broker's process, if it has one.
    """

    def __init__(self, profile: str, folder: Path, url: str, rows: list[Row], node: RabbitMQ | None = None) -> None:
        self.profile = profile
        self.node = node
        self.ours = profile != "vanilla"
        self.url = url
        self.folder = folder / "project"
        self.variables: dict[str, str] = {}
        self.workers: list[Worker] = []
        self._how: dict[Worker, tuple[tuple[str, ...], dict[str, str]]] = {}
        self._publishers: list[Publisher] = []
        self._rows = rows
        self._names = 0
        register()
        self._write_project()

    def _write_project(self) -> None:
        tasks = self.folder / "probe/tasks"
        tasks.mkdir(parents=True)
        (self.folder / "probe/__init__.py").touch()
        (tasks / "__init__.py").touch()
        shutil.copy(Path(__file__).with_name("tasks.py"), tasks / "chaos.py")
        (self.folder / "probe/application.py").write_text(APPLICATION["ours" if self.ours else "vanilla"])
        self.configure()

    def configure(self, **settings: Any) -> None:
        """Add settings to the project: to ``celeryconfig.py``, or for vanilla to the application."""
        lines = "".join(f"{name} = {value!r}\n" for name, value in settings.items())
        if self.ours:
            (self.folder / "celeryconfig.py").write_text(SETTINGS + lines)
        elif settings:
            (self.folder / "probe/application.py").write_text(
                APPLICATION["vanilla"] + f"celery.conf.update({settings!r})\n"
            )

    def environment(self, url: str | None = None) -> dict[str, str]:
        path = os.pathsep.join([str(self.folder), str(ROOT)])
        return {**os.environ, "CELERY_BROKER_URL": url or self.url, "PYTHONPATH": path, **self.variables}

    def through(self, proxy: Any) -> str:
        """Return the broker's URL through a proxy."""
        assert self.node
        return self.url.replace(f":{self.node.port}/", f":{proxy.port}/")

    def worker(self, *options: str, url: str | None = None, concurrency: int = 4, wait: bool = True) -> Worker:
        application = "framework.celery.celery" if self.ours else "probe.application"
        self._names += 1
        how = (f"-c{concurrency}", *options)
        worker = Worker(self.folder, application, self.environment(url), f"w{self._names}", *how)
        self._how[worker] = (options, {"url": url, "concurrency": concurrency})  # type: ignore[dict-item]
        self.workers.append(worker)
        return worker.wait_until_ready() if wait else worker

    def replace(self, worker: Worker, *, wait: bool = True) -> Worker:
        """Start a worker with the options of one that has ended, as a supervisor does."""
        self.workers.remove(worker)
        options, how = self._how.pop(worker)
        return self.worker(*options, **how, wait=wait)  # type: ignore[arg-type]

    def revive(self) -> int:
        """Replace every worker that has ended; return how many there were."""
        ended = [worker for worker in self.workers if not worker.alive]
        for worker in ended:
            worker.kill()
            self.replace(worker, wait=False)
        return len(ended)

    def publisher(
        self,
        task: str,
        count: int,
        *args: Any,
        first: int | None = None,
        rate: float = 0,
        pause_after: int = -1,
        url: str | None = None,
        **options: Any,
    ) -> Publisher:
        """Start calling ``task(number, *args)`` ``count`` times, ``rate`` per second (0: without a pause)."""
        numbered = 1_000_000 * len(self._publishers) if first is None else first
        plan = {"task": task, "count": count, "args": args, "first": numbered, "rate": rate}
        plan |= {"pause_after": pause_after, "options": options}
        made = Publisher(self.folder, self.environment(url), f"p{len(self._publishers)}", plan)
        self._publishers.append(made)
        return made

    def publish(self, task: str, count: int, *args: Any, **how: Any) -> list[Call]:
        """Call ``task`` ``count`` times and wait until the calls are made."""
        return self.publisher(task, count, *args, **how).wait(300)

    def noted(self, name: str) -> list[list[str]]:
        """Return the lines that tasks wrote to a file, split into words."""
        file = self.folder / name
        return [line.split() for line in file.read_text().split("\n")[:-1]] if file.exists() else []

    def numbers(self, name: str) -> list[int]:
        return [int(line[0]) for line in self.noted(name)]

    def registry(self) -> list[dict[str, Any]]:
        """Return the headers of all messages in the failed-task queue, which stay there."""
        with Connection(self.url) as connection:
            channel = connection.channel()
            try:
                channel.queue_declare(FAILED, passive=True)
            except (*connection.channel_errors, OperationalError):
                return []
            messages = []
            while (message := channel.basic_get(FAILED)) is not None:
                messages.append(message)
            return [dict(message.headers or {}, id=_id_of(message)) for message in messages]

    def registered(self, calls: Collection[Call]) -> set[int]:
        """Return the numbers of the calls whose task is in the failed-task queue."""
        ids = {call.id: call.number for call in calls if call.id}
        return {ids[entry["id"]] for entry in self.registry() if entry["id"] in ids}

    def waiting(self, queue: str = "celery") -> int:
        """Return how many messages are ready in a queue."""
        with Connection(self.url) as connection:
            try:
                return connection.channel().queue_declare(queue, passive=True).message_count
            except (*connection.channel_errors, OperationalError):
                return 0

    def wait_for_results(
        self,
        calls: list[Call],
        *,
        quiet: float = QUIET,
        seconds: float = RESULTS_SECONDS,
        tick: Callable[[], object] = lambda: None,
    ) -> Figures:
        """Wait until each accepted call has run or failed, or there was no progress for ``quiet`` seconds."""
        end = time.monotonic() + seconds
        moved = time.monotonic()
        counts, registered = (-1, -1), set[int]()
        accepted = {call.number for call in calls if call.ok}
        while True:
            tick()
            new = (len(self.numbers("done")), len(self.noted("started")) + len(self.noted("tries")))
            if new != counts:
                counts, moved = new, time.monotonic()
            missing = accepted - set(self.numbers("done")) - registered
            if not missing or time.monotonic() > end:
                break
            if time.monotonic() - moved > 2:
                before, registered = registered, self.registered(calls) if self.ours else set()
                moved = time.monotonic() if registered != before else moved
                if accepted - set(self.numbers("done")) <= registered:
                    break
            if time.monotonic() - moved > quiet:
                break
            time.sleep(0.2)
        return self.figures(calls)

    def figures(self, calls: list[Call]) -> Figures:
        registered = self.registered(calls) if self.ours else set()
        return figures_of(calls, self.numbers("started"), self.numbers("done"), registered)

    def report(
        self,
        fault: str,
        load: str,
        figures: Figures,
        *remarks: str,
        raised_at_most: int = 0,
        measured: dict[str, Any] | None = None,
    ) -> Figures:
        """Add the row to the table; assert that the framework lost nothing, and raised at most so many times."""
        counted = [f"{times} {name}" for name, times in figures.refusals.items()]
        counted += [f"{figures.restarted} run again" if figures.restarted else ""]
        counted += [f"{figures.registered} in the registry" if figures.registered else ""]
        row = Row(fault, self.profile, load, figures, ", ".join(filter(None, [*remarks, *counted])), measured or {})
        self._rows.append(row)
        if self.ours:
            assert figures.lost == 0, f"{figures.lost} lost: {list(figures.missing)[:20]} in {self.folder}"
            assert figures.raised <= raised_at_most, f"{figures.raised} raised: {figures.refusals} in {self.folder}"
        return figures

    def close(self) -> None:
        for publisher in self._publishers:
            publisher.end()
        for worker in self.workers:
            worker.kill()


def _id_of(message: Any) -> str:
    return str((message.headers or {}).get("id") or message.properties.get("correlation_id") or "")


def by_number(lines: list[list[str]]) -> dict[int, list[float]]:
    """Return the times that tasks wrote, sorted, by number."""
    times: defaultdict[int, list[float]] = defaultdict(list)
    for number, when in lines:
        times[int(number)].append(float(when))
    return {number: sorted(noted) for number, noted in times.items()}
