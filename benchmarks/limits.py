"""The cost of a limit, and a flood of visitors: ``python benchmarks/limits.py [--quick]``.

On RabbitMQ (a private one) and on the embedded broker: checks of one hot key from four processes of eight threads, a
check of a known key and of a new one, a task's call with and without a limit, and of a unique task the first call of a
key and a second one. On RabbitMQ then 20,000 different visitors in a minute, while another process publishes all the
time: the broker's memory and its alarm, the number of queues, and the time of each publish. Results go to
``limits.json`` in ``results`` beside this file.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median, quantiles

from framework.celery.app import App
from framework.errors import OverLimit
from framework.limits import Limit, Unique
from framework.testing.rabbitmq import RabbitMQ

HERE = Path(__file__).parent


def app_at(url):
    return App("bench", set_as_current=False, broker=url, backend="disabled://")


def hot(url, seconds):
    """Check one key with eight threads for some seconds; return the number of checks."""
    limit, checks, end = Limit("50/1s", name="hot", app=app_at(url)), [0] * 8, time.time() + float(seconds)

    def check(number):
        while time.time() < end:
            limit.allows("shared")
            checks[number] += 1

    together([threading.Thread(target=check, args=(number,)) for number in range(8)])
    return sum(checks)


def flood(url, visitors, seconds, first):
    """Send new visitors evenly over some seconds, from eight threads; return how many were accepted and refused."""
    limit, counts, began = Limit("1/10s", name="flood", app=app_at(url)), [[0, 0] for _ in range(8)], time.time()

    def visit(number):
        for visitor in range(number, int(visitors), 8):
            time.sleep(max(began + visitor * float(seconds) / int(visitors) - time.time(), 0))
            try:
                limit.take(f"visitor {int(first) + visitor}")
                counts[number][0] += 1
            except OverLimit:
                counts[number][1] += 1

    together([threading.Thread(target=visit, args=(number,)) for number in range(8)])
    return {
        "taken": sum(a for a, _ in counts),
        "refused": sum(b for _, b in counts),
        "seconds": round(time.time() - began, 1),
    }


def publishes(url, seconds):
    """Call a task fifty times a second; return the seconds of each call."""
    task, took, end = app_at(url).task(name="bench.noop")(noop), [], time.time() + float(seconds)
    while time.time() < end:
        began = time.perf_counter()
        task.delay()
        took.append(time.perf_counter() - began)
        time.sleep(0.02)
    return took


def noop(visitor=None): ...


PARTS = {"hot": hot, "flood": flood, "publishes": publishes}


def together(threads):
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def process(part, *args):
    command = [sys.executable, __file__, "--part", part, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def result_of(running):
    return json.loads(running.communicate()[0])


def milliseconds(took):
    return {
        "p50": round(median(took) * 1e3, 2),
        "p99": round(quantiles(took, n=100)[98] * 1e3, 2),
        "max": round(max(took) * 1e3, 1),
    }


def timed(do, times):
    took = []
    for number in range(times):
        began = time.perf_counter()
        do(number)
        took.append(time.perf_counter() - began)
    return milliseconds(took)


def checks(url, seconds, times):
    crowd = [process("hot", url, seconds) for _ in range(4)]
    hot_checks = sum(result_of(one) for one in crowd) / seconds
    app = app_at(url)
    free, plain = Limit(f"{times * 3}/m", name="free", app=app), app.task(name="bench.plain")(noop)
    limited = app.task(name="bench.limited", limit=Limit(f"{times * 3}/m"))(noop)
    unique = app.task(name="bench.unique", unique=Unique("visitor"))(noop)
    plain.delay(), limited.delay(), unique.delay("the second time")
    new = Limit("1/1s", name="new", app=app)
    return {
        "hot key, checks/s of 4 processes": round(hot_checks),
        "slot taken, ms": timed(lambda _: free.take("a"), times),
        "new key, ms": timed(lambda number: new.take(f"new {number}"), times),
        "call, ms": timed(lambda _: plain.delay(), times),
        "call with a limit, ms": timed(lambda _: limited.delay(), times),
        "first call of a key, ms": timed(unique.delay, times),
        "second call of a key, ms": timed(lambda _: unique.delay("the second time"), times),
    }


def memory(server):
    """Return the bytes that RabbitMQ uses, and those at which it blocks publishers."""
    status = json.loads(server.ctl("status", "--formatter", "json"))
    return status["memory"]["total"]["rss"], status["vm_memory_high_watermark_limit"]


def flooded(server, url, visitors, seconds):
    before, alarm = memory(server)
    # The processes of the interpreter take a while to start.
    publisher = process("publishes", url, seconds + 10)
    crowd = [process("flood", url, visitors // 4, seconds, number * visitors) for number in range(4)]
    peak = before
    while any(one.poll() is None for one in crowd):
        peak = max(peak, memory(server)[0])
        time.sleep(2)
    results = [result_of(one) for one in crowd]
    queues = len(server.ctl("list_queues", "-q", "-p", url.rpartition("/")[2], "name").splitlines())
    took = result_of(publisher)
    return {
        "visitors": visitors,
        "seconds": max(one["seconds"] for one in results),
        "taken": sum(one["taken"] for one in results),
        "refused": sum(one["refused"] for one in results),
        "queues at the end": queues,
        "MB before": before >> 20,
        "MB at most": peak >> 20,
        "MB alarm": alarm >> 20,
        "publishes meanwhile": len(took),
        "publish, ms": milliseconds(took),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--part", nargs="+")
    options = parser.parse_args()
    if options.part:
        name, *args = options.part
        print(json.dumps(PARTS[name](*args)))
        return
    seconds, times, visitors, minute = (3, 100, 2000, 6) if options.quick else (15, 1000, 20_000, 60)
    results = {"machine": f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"}
    with RabbitMQ() as server, tempfile.TemporaryDirectory() as folder:
        url = server.vhost()
        results["rabbitmq"] = checks(url, seconds, times)
        results["embedded"] = checks(f"sqlite:///{folder}/broker.db", seconds, times)
        results["flood"] = flooded(server, server.vhost(), visitors, minute)
    print(json.dumps(results, indent=2))
    if not options.quick:
        (HERE / "results/limits.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
