"""The cost of progress and states, and their latency: ``python benchmarks/progress.py [--quick]``.

On RabbitMQ (a private one) and on the embedded broker: the loop of a real task in a real worker, bare and with
progress, in turns; the time from an update to a watcher in another process; a tracked call beside an untracked one;
reading a last state; and the broker's memory for each task with a state. Results go to ``progress.json`` in the folder
``results``.
"""

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from types import SimpleNamespace

from framework.celery.app import App
from framework.progress import Watcher, last_state, progress
from framework.progress.run import Run
from framework.testing.rabbitmq import RabbitMQ

HERE = Path(__file__).parent
STEPS = 1_000_000

app = App("bench")
app.conf.worker_prefetch_multiplier = 4
app.conf.task_state_max = 100_000


def generated():
    yield from range(STEPS)


SOURCES = {"range": lambda: range(STEPS), "list": lambda: list(range(STEPS)), "generator": generated}


def seconds_of(items):
    x = 0
    began = time.perf_counter()
    for i in items:
        x += i
    return time.perf_counter() - began


@app.task(name="bench.loops", track=True, shared=False)
def loops(source, rounds):
    """Return the seconds of the bare loop and of the one with progress, the best of each."""
    make = SOURCES[source]
    pairs = [(seconds_of(make()), seconds_of(progress(make(), source))) for _ in range(rounds)]
    return min(bare for bare, _ in pairs), min(tracked for _, tracked in pairs)


@app.task(name="bench.updates", track=True, shared=False)
def updates(count):
    """Update the progress at random times; each message is the time of its update."""
    with progress(total=count, name="updates") as step:
        for number in range(count):
            time.sleep(random.uniform(0.02, 0.5))
            step.set(number + 1)
            step.message(repr(time.time()))


@app.task(name="bench.tracked", track=True, shared=False)
def tracked():
    """Do nothing, and report states."""


@app.task(name="bench.untracked", shared=False)
def untracked():
    """Do nothing."""


@contextmanager
def worker():
    command = [sys.executable, "-m", "celery", "-A", "progress", "worker", "-c2", "-l", "warning"]
    command += ["--without-mingle", "--without-gossip", "--without-heartbeat"]
    process = subprocess.Popen(command, cwd=HERE, env=os.environ, start_new_session=True)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def ended(watcher, task_id):
    """Wait for a task; return its last state."""
    done = threading.Event()
    found = []

    def take(state):
        if state.final:
            found.append(state)
            done.set()

    watcher.subscribe(task_id, take)
    done.wait()
    assert found[0].status == "success", found[0]
    return found[0]


def loop_cost(watcher, rounds):
    ended(watcher, loops.delay("range", 1).id)
    found = {}
    for source in SOURCES:
        bare, tracked_loop = ended(watcher, loops.delay(source, rounds).id).result
        found[source] = {
            "bare ns": bare / STEPS * 1e9,
            "progress ns": tracked_loop / STEPS * 1e9,
            "more %": (tracked_loop / bare - 1) * 100,
        }
    return found


def latency(watcher, count, watching):
    """Return the milliseconds from an update to the callbacks of the watchers of a task."""
    waits = []
    sent = updates.delay(count)

    def take(state):
        now = time.time()
        if state.status == "progress" and state.progress.message:
            waits.append((now - float(state.progress.message)) * 1000)

    ends = [watcher.subscribe(sent.id, take) for _ in range(watching)]
    ended(watcher, sent.id)
    for end in ends:
        end()
    waits.sort()
    return {"p50 ms": waits[len(waits) // 2], "p95 ms": waits[int(len(waits) * 0.95)], "updates": len(waits)}


def call_cost(count):
    found = {}
    for name, task in (("untracked", untracked), ("tracked", tracked)) * 3:
        task.delay()
        began = time.perf_counter()
        for _ in range(count):
            task.delay()
        found.setdefault(name, []).append((time.perf_counter() - began) / count * 1000)
    app.control.purge()
    return {f"{name} ms": median(times) for name, times in found.items()}


def reading(count):
    run = Run(app, SimpleNamespace(id="read", retries=0, delivery_info={}), "read")
    run.start()
    run.end("success", result=1)

    def read(_):
        began = time.perf_counter()
        assert last_state("read", app=app).final
        return (time.perf_counter() - began) * 1000

    alone = sorted(map(read, range(count)))
    with ThreadPoolExecutor(20) as pool:
        crowd = sorted(pool.map(read, range(count)))
    return {
        "alone p50 ms": alone[count // 2],
        "20 at once p50 ms": crowd[count // 2],
        "20 at once p95 ms": crowd[int(count * 0.95)],
    }


def store_states(count):
    """End tasks, whose last states the broker stores."""
    for number in range(count):
        run = Run(app, SimpleNamespace(id=f"stored-{number}", retries=0, delivery_info={}), "stored")
        run.start()
        run.end("success", result={"rows": 1000, "file": "report.csv"})


def measured(sizes):
    found = {"call": call_cost(sizes["calls"]), "last state": reading(sizes["reads"])}
    with worker(), Watcher(app) as watcher:
        found["loop"] = loop_cost(watcher, sizes["rounds"])
        found["update to one who watches"] = latency(watcher, sizes["updates"], 1)
        found["update to 500 who watch"] = latency(watcher, sizes["updates"], 500)
    return found


def run_on(url, what, sizes):
    """Run a function of this file in another process, on a broker."""
    env = {**os.environ, "CELERY_BROKER_URL": url, "PYTHONPATH": f"{HERE}:{HERE.parent}"}
    code = f"import json, progress; print(json.dumps(progress.{what}({sizes!r}))); progress.app.close()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=HERE, env=env, stdout=subprocess.PIPE, check=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def memory(server, count):
    """Return the KB that the broker reports for each task with a stored state."""

    def total():
        server.ctl("eval", "[garbage_collect(P) || P <- processes()].")
        return int(server.ctl("eval", "erlang:memory(total).").strip())

    before = total()
    run_on(server.url, "store_states", count)
    return {"KB for each": (total() - before) / count / 1024, "tasks": count}


def rounded(value):
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    return round(value, 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes; nothing is written")
    quick = parser.parse_args().quick
    sizes = {"calls": 200, "reads": 500, "rounds": 15, "updates": 100, "kept": 2000}
    if quick:
        sizes = {name: max(size // 10, 2) for name, size in sizes.items()}
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        found["embedded"] = run_on(f"sqlite:///{folder}/broker.db", "measured", sizes)
    with RabbitMQ() as server:
        found["rabbitmq"] = run_on(server.url, "measured", sizes)
        found["rabbitmq"]["memory"] = memory(server, sizes["kept"])
    load = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    report = {"machine": f"Python {platform.python_version()}, {load}", "sizes": sizes, **rounded(found)}
    print(json.dumps(report, indent=2))
    if not quick:
        (HERE / "results/progress.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
