"""Sockets in one web process, their memory and the latency of updates: ``python benchmarks/web.py [--quick]``.

gunicorn with one process of four threads, the clients in another process. *together*: four tasks whose messages are the
time, watched by all; from the line in the task to the client, including the interval at which progress is reported.
*page*: the same to the screen of a browser (needs Chromium). *apart*: a task for each socket; from the publish to the
client. Results go to ``web.json`` in the folder ``results``.
"""

import argparse
import asyncio
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import quantiles

from websockets.asyncio.client import connect

from framework.celery.app import App
from framework.progress import Progress, State, Step, store
from framework.progress.store import encoded
from framework.testing.browser import open_browser
from framework.testing.rabbitmq import RabbitMQ, free_ports

HERE = Path(__file__).parent
TASKS = 4


@contextmanager
def process(folder, env, *command):
    """Run a process; it and its children are killed at the end of the block."""
    with (folder / f"{command[0]}.log").open("ab") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=HERE, env=env, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield started
    finally:
        os.killpg(started.pid, signal.SIGKILL)  # a worker would wait for its tasks
        started.wait(30)


def resident(pid):
    """Return the bytes of private memory of a process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def processor_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def threads(pid):
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


class Site:
    """The web process, with the session of one visitor."""

    def __init__(self, port):
        self.port = port
        self.cookie = ""
        end = time.monotonic() + 30
        while not self._responds():
            if time.monotonic() > end:
                raise TimeoutError
            time.sleep(0.1)
        self.pid = self.fetch("first")["pid"]

    def _responds(self):
        with suppress(OSError):
            return bool(self.fetch("first"))
        return False

    def fetch(self, task_id):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/url/{task_id}", headers={"Cookie": self.cookie})
        with urllib.request.urlopen(request, timeout=30) as response:
            self.cookie = self.cookie or (response.headers["Set-Cookie"] or "").split(";")[0]
            return json.load(response)

    def connect(self, task_id):
        address = f"ws://127.0.0.1:{self.port}{self.fetch(task_id)['url']}/live"
        return connect(address, additional_headers={"Cookie": self.cookie}, proxy=None, compression=None)


async def watch(socket, delays):
    async for text in socket:
        now = time.time()
        reported = json.loads(text).get("progress")
        if reported and reported["message"]:
            delays.append(now - float(reported["message"]))


async def watch_all(site, ids, seconds, meanwhile):
    """Open a socket for each id and listen for some seconds; return memory, processor time and delays."""
    warm = await site.connect(ids[0])
    await warm.recv()
    before = resident(site.pid)
    began = time.monotonic()
    sockets = [await site.connect(task_id) for task_id in ids]
    opening = time.monotonic() - began
    delays = []
    listening = [asyncio.create_task(watch(socket, delays)) for socket in sockets]
    publishing = await meanwhile()
    await asyncio.sleep(3)
    delays.clear()
    used = processor_seconds(site.pid)
    await asyncio.sleep(seconds)
    used = processor_seconds(site.pid) - used
    figures = {
        "sockets": len(ids),
        "open_per_second": round(len(ids) / opening),
        "kib_per_socket": round((resident(site.pid) - before) / len(ids) / 1024, 1),
        "mib_of_the_process": round(resident(site.pid) / 2**20, 1),
        "threads_of_the_process": threads(site.pid),
        "updates_per_second": round(len(delays) / seconds),
        "processor_share": round(used / seconds, 2),
        "latency_ms": latency(delays),
        "load": os.getloadavg()[0],
    }
    if publishing:
        publishing.terminate()
        await publishing.wait()
    for each in listening:
        each.cancel()
    await asyncio.gather(*listening, return_exceptions=True)
    await asyncio.gather(warm.close(), *(socket.close() for socket in sockets))
    return figures


def latency(delays):
    cuts = quantiles(delays, n=100)
    seconds = {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98], "max": max(delays)}
    return {name: round(value * 1000, 1) for name, value in seconds.items()}


def publish(url, ids, each_per_second):
    """Publish a state of every task in turn, until the process is killed."""
    app = App("publisher", broker=url, set_as_current=False)
    with app.connection_for_write() as connection, connection.channel() as channel:
        store.declare_exchange(channel)
        number, due = 0, time.monotonic()
        while True:
            number += 1
            for task_id in ids:
                now = time.time()
                steps = (Step("reading", number, 10_000, repr(now), 10.0, 100.0),)
                state = State(task_id, "bench", "progress", number, now, progress=Progress(steps))
                store.publish(channel, task_id, encoded(state))
                due += 1 / (each_per_second * len(ids))
                if (ahead := due - time.monotonic()) > 0:
                    time.sleep(ahead)


async def together(site, url, sockets, seconds):
    app = App("caller", broker=url, set_as_current=False)
    app.conf.task_remote_names = ["ticking"]
    calls = [app.send_task("ticking", (seconds + 60, 0.25), ignore_result=True) for _ in range(TASKS)]
    ids = [calls[number % TASKS].id for number in range(sockets)]

    async def nothing():
        return None

    return await watch_all(site, ids, seconds, nothing)


async def apart(site, url, sockets, seconds):
    ids = [f"bench-{number}" for number in range(sockets)]

    async def start():
        return await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--publish", url, str(sockets), env={**os.environ, "PYTHONPATH": str(HERE.parent)}
        )

    return await watch_all(site, ids, seconds, start)


def page(site, url, seconds):
    """Measure a page in a browser: from the line in the task to the screen."""
    app = App("caller", broker=url, set_as_current=False)
    app.conf.task_remote_names = ["ticking"]
    task_id = app.send_task("ticking", (seconds + 20, 0.25), ignore_result=True).id
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = open_browser(Path(profile))
        try:
            browser.get(f"http://127.0.0.1:{site.port}/page/{task_id}")
            time.sleep(3)
            browser.execute_script("window.delays.length = 0")
            time.sleep(seconds)
            delays = browser.execute_script("return window.delays")
        finally:
            browser.quit()
    return {"updates": len(delays), "latency_ms": latency(delays), "load": os.getloadavg()[0]}


def measure(url, sockets, seconds):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = url or f"sqlite:///{folder}/broker.db"
        env = {**os.environ, "CELERY_BROKER_URL": url, "PYTHONPATH": f"{HERE}:{HERE.parent}"}
        [port] = free_ports(1)
        serving = ["gunicorn", "--threads", "4", "--bind", f"127.0.0.1:{port}", "web_app:create_app()"]
        results = {}
        for way, how in (("together", together), ("apart", apart)):
            with ExitStack() as running:
                running.enter_context(process(folder, env, *serving))
                if way == "together":
                    options = ["-c", str(TASKS + 1), "-P", "threads", "--without-mingle", "--without-gossip"]
                    running.enter_context(process(folder, env, "celery", "-A", "web_app", "worker", *options))
                site = Site(port)
                results[way] = asyncio.run(how(site, url, sockets, seconds))
                if way == "together":
                    results["page"] = page(site, url, seconds)
        return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="50 sockets and a few seconds, to check that it runs")
    parser.add_argument("--publish", nargs=2, metavar=("URL", "TASKS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.publish:
        url, count = options.publish
        publish(url, [f"bench-{number}" for number in range(int(count))], 1)
    sockets, seconds = (50, 3) if options.quick else (500, 20)
    results = {"sqlite": measure(None, sockets, seconds)}
    with RabbitMQ() as server:
        results["rabbitmq"] = measure(server.url, sockets, seconds)
    results["machine"] = {"cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps(results, indent=2))
    if not options.quick:
        (HERE / "results/web.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
