"""The throughput of more callers and more workers, on both brokers: ``python benchmarks/growing.py [--quick]``.

Callers: processes that call a task at the same time, each call confirmed. Workers: ``framework worker`` with four
processes each, which run tasks that wait for 20 ms. All on one machine. Every figure is the median of three rounds. The
results go to ``growing.json`` in the folder ``results``.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from growing_app import WAIT_SECONDS

from framework.testing.rabbitmq import RabbitMQ
from framework.testing.worker import Worker

HERE = Path(__file__).parent
PROCESSES = 4
QUICK = {"rounds": 1, "callers": (1, 2), "calls": 100, "workers": (1, 2), "tasks": 100}
FULL = {"rounds": 3, "callers": (1, 2, 4), "calls": 2000, "workers": (1, 2, 4), "tasks": 500}


def evaluate(broker_url, code):
    """Start a process that prints the value of an expression about the application."""
    return subprocess.Popen(
        [sys.executable, "-c", f"import growing_app; print({code})"],
        env={**os.environ, "CELERY_BROKER_URL": broker_url, "PYTHONPATH": f"{HERE}:{HERE.parent}"},
        cwd=HERE,
        stdout=subprocess.PIPE,
        text=True,
    )


def calls_per_second(broker_url, callers, calls):
    """Return the calls per second of all callers together, which start at the same time."""
    begin = time.time() + 5
    processes = [evaluate(broker_url, f"growing_app.call({calls}, {begin})") for _ in range(callers)]
    return callers * calls / (max(float(process.communicate()[0]) for process in processes) - begin)


def tasks_per_second(broker_url, workers, tasks, file):
    """Return the tasks per second of all workers together, which start at the same time on a full queue."""
    count = tasks * workers
    evaluate(broker_url, f"[growing_app.wait.delay({str(file)!r}) for _ in range({count})] and 0").communicate()
    with ExitStack() as stack:
        for number in range(workers):
            options = ("--queues=idle", f"--concurrency={PROCESSES}", f"--hostname=growing-{number}@%h")
            stack.enter_context(Worker(broker_url, *options, app="growing_app"))
        evaluate(broker_url, "growing_app.celery.control.add_consumer('celery')").communicate()
        while len(written := stamps(file)) < count:
            time.sleep(0.02)
    steady = written[count // 10 : count * 9 // 10]
    return (len(steady) - 1) / ((steady[-1] - steady[0]) / 1e9)


def stamps(file):
    data = file.read_bytes() if file.exists() else b""
    return sorted(int.from_bytes(data[n : n + 8]) for n in range(0, len(data) // 8 * 8, 8))


def measure(fresh, *, rounds, callers, calls, workers, tasks):
    """Return both figures for each number of callers and of workers."""

    def of(figure, counts):
        return {str(count): median(figure(count) for _ in range(rounds)) for count in counts}

    def running(count):
        with fresh() as (broker_url, folder):
            return tasks_per_second(broker_url, count, tasks, folder / "stamps")

    def calling(count):
        with fresh() as (broker_url, _):
            return calls_per_second(broker_url, count, calls)

    return {"calls a second": of(calling, callers), "tasks a second": of(running, workers)}


class Fresh(ExitStack):
    """An empty broker and an empty folder."""

    def __init__(self, server=None):
        super().__init__()
        self.server = server

    def __enter__(self):
        super().__enter__()
        folder = Path(self.enter_context(tempfile.TemporaryDirectory()))
        if self.server is None:
            return f"sqlite:///{folder}/broker.db", folder
        url = self.server.vhost()
        self.callback(self.server.drop_vhost, url)
        return url, folder


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="small sizes, to check that it runs")
    sizes = QUICK if arguments.parse_args().quick else FULL
    sys.path.insert(0, str(HERE))
    os.chdir(HERE)
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    results = {
        "machine": machine,
        "sizes": sizes,
        "seconds of a task": WAIT_SECONDS,
        "processes of a worker": PROCESSES,
    }
    results["embedded"] = measure(Fresh, **sizes)
    with RabbitMQ() as server:
        results["rabbitmq"] = measure(lambda: Fresh(server), **sizes)
    text = json.dumps(results, indent=2)
    print(text)
    if sizes is FULL:
        (HERE / "results" / "growing.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
