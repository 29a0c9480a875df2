"""The embedded broker beside kombu's file-based ones, in one run: ``python benchmarks/embedded.py [--quick]``.

Every figure is the median of several rounds, and in each round the systems take turns (A B C, A B C, ...), so that the
ratios hold although the machine's speed drifts. RabbitMQ is measured for scale. Results go to ``embedded.json`` in the
folder ``results``.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
SYSTEMS = ("ours", "filesystem", "sqla", "rabbitmq")


def environment(system, folder, rabbitmq_url):
    urls = {
        "ours": f"sqlite:///{folder}/broker.db",
        "filesystem": "filesystem://",
        "sqla": f"sqla+sqlite:///{folder}/sqla.db",
        "rabbitmq": rabbitmq_url,
    }
    (folder / "messages").mkdir(exist_ok=True)
    return {
        **os.environ,
        "CELERY_BROKER_URL": urls[system],
        "BENCH_SYSTEM": system,
        "BENCH_FOLDER": str(folder / "messages"),
        "BENCH_STAMPS": str(folder / "stamps"),
        "PYTHONPATH": f"{HERE}:{HERE.parent}",
    }


def call(env, how, count):
    code = f"import bench_app; print(bench_app.{how}({count}))"
    run = subprocess.run([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, check=True, text=True)
    return float(run.stdout)


@contextmanager
def worker(env, *options):
    """Run a worker process; its process group is killed at the end of the block."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "bench_app",
            "worker",
            "-c2",
            "-l",
            "warning",
            "--without-mingle",
            "--without-gossip",
            "--without-heartbeat",
            *options,
        ],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def stamps(env):
    path = Path(env["BENCH_STAMPS"])
    data = path.read_bytes() if path.exists() else b""
    return [
        (int.from_bytes(data[n : n + 8]), int.from_bytes(data[n + 8 : n + 16]))
        for n in range(0, len(data) // 16 * 16, 16)
    ]


def wait_for(env, count, seconds=600):
    path, end = Path(env["BENCH_STAMPS"]), time.monotonic() + seconds
    while not path.exists() or path.stat().st_size < count * 16:
        if time.monotonic() > end:
            raise SystemExit(f"{env['BENCH_SYSTEM']}: {len(stamps(env))} of {count} tasks ran in {seconds} s")
        time.sleep(0.02)


def rate(started, first, last):
    """Return the tasks per second between two positions of the sorted start times."""
    return (last - first) / ((started[last] - started[first]) / 1e9)


def measure_throughput(env, count):
    """Return messages and calls per second of one process, and tasks per second of a worker on a full queue."""
    published = call(env, "publish", count)
    called = call(env, "delay", count)
    with worker(env):
        wait_for(env, 2 * count + 2)
    started = sorted(at for _, at in stamps(env))
    return {"enqueue": published, "delay()": called, "drain": rate(started, count // 5, 2 * count)}


def measure_latency(env, calls, idle_seconds):
    """Return the milliseconds from call to start, and the share of a core that an idle worker uses."""
    with worker(env) as process:
        call(env, "delay", 1)
        wait_for(env, 2)
        time.sleep(2)
        before = cpu_seconds(process.pid)
        time.sleep(idle_seconds)
        idle = (cpu_seconds(process.pid) - before) / idle_seconds
        code = (
            "import bench_app, random, time\n"
            f"for _ in range({calls}): bench_app.stamp.delay(time.time_ns()); time.sleep(random.uniform(0.02, 0.12))"
        )
        subprocess.run([sys.executable, "-c", code], env=env, check=True)
        wait_for(env, calls + 2)
    waits = sorted((at - sent) / 1e6 for sent, at in stamps(env)[3:])
    return {"p50 ms": median(waits), "p99 ms": waits[int(len(waits) * 0.99) - 1], "idle %": idle * 100}


def cpu_seconds(group):
    """Return the user and system time of all processes of a group, from /proc."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure_backlog(env, queued, taken):
    """Return the microseconds for each of the first ``taken`` tasks of a queue of ``queued``."""
    call(env, "publish", queued)
    with worker(env):
        wait_for(env, taken)
    started = sorted(at for _, at in stamps(env))[:taken]
    return 1e6 / rate(started, taken // 10, taken - 1)


QUICK = {"rounds": 1, "count": 300, "calls": 20, "idle": 2, "deep": 3000, "shallow": 300}
FULL = {"rounds": 5, "count": 2000, "calls": 150, "idle": 10, "deep": 100_000, "shallow": 1000}


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="small sizes, to check that it runs")
    arguments.add_argument("--systems", nargs="+", default=SYSTEMS, choices=SYSTEMS)
    given = arguments.parse_args()
    sizes = QUICK if given.quick else FULL
    with ExitStack() as stack:
        figures = measure(given.systems, brokers(stack, given.systems), **sizes)
    report({system: {name: median(values) for name, values in of.items()} for system, of in figures.items()}, sizes)


def brokers(stack, systems):
    """Return a function that returns the environment of a system with an empty broker."""
    rabbitmq_url = ""
    if "rabbitmq" in systems:
        from framework.testing.rabbitmq import RabbitMQ

        rabbitmq_url = stack.enter_context(RabbitMQ()).url

    def fresh(system):
        if system == "rabbitmq":
            purge(rabbitmq_url)
        return environment(system, Path(stack.enter_context(tempfile.TemporaryDirectory())), rabbitmq_url)

    return fresh


def measure(systems, fresh, *, rounds, count, calls, idle, deep, shallow):
    """Return every figure of every system, as a list with a value for each round."""
    figures = {system: defaultdict(list) for system in systems}

    def note(system, measured):
        for name, value in measured.items():
            figures[system][name].append(value)

    for _ in range(rounds):
        for system in systems:
            note(system, measure_throughput(fresh(system), count))
    for _ in range(max(1, rounds - 2)):
        for system in systems:
            note(system, measure_latency(fresh(system), calls, idle))
        for name, queued in (("us/task of 1,000", shallow), ("us/task of 100,000", deep)):
            note("ours", {name: measure_backlog(fresh("ours"), queued, shallow)})
    return figures


def purge(url):
    from kombu import Connection

    with Connection(url) as connection, connection.channel() as channel:
        channel.queue_delete("celery")


def report(medians, sizes):
    names = list(medians["ours"])
    width = max(map(len, names))
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"medians of {sizes['rounds']} rounds; {machine}")
    print(" " * width, *(f"{system:>12}" for system in medians))
    for name in names:
        cells = (f"{of[name]:12.2f}" if name in of else " " * 12 for of in medians.values())
        print(f"{name:<{width}}", *cells)
    ours = medians["ours"]
    for other in medians.keys() & {"filesystem", "sqla"}:
        ratios = (f"{name} {ours[name] / medians[other][name]:.2f}x" for name in ("enqueue", "drain"))
        print(f"ours : {other}", *ratios)
    print(f"a task of 100,000 : one of 1,000 = {ours['us/task of 100,000'] / ours['us/task of 1,000']:.2f}")
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    written = {"machine": machine, "sizes": sizes, "medians": medians}
    (results / "embedded.json").write_text(json.dumps(written, indent=2) + "\n")


if __name__ == "__main__":
    main()
