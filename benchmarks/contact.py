"""The contact form with its mail sent by a task and in the request: ``python benchmarks/contact.py [--quick]``.

gunicorn with one process, with one thread and with eight; the mail server takes two seconds for each mail; each visitor
has another address, so the limit per visitor is checked each time and never exceeded. *ten*: ten visitors send their
forms at once, and an eleventh opens the front page. *steady*: forms arrive at a constant rate, whether or not earlier
ones were answered; times count from when a form was due. *most*: eight threads send one form after the other. Results
go to ``contact.json`` in the folder ``results``.
"""

import argparse
import asyncio
import http.client
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from statistics import quantiles
from urllib.parse import urlencode

from framework.testing.mailbox import Mailbox
from framework.testing.rabbitmq import RabbitMQ, free_ports

HERE = Path(__file__).parent
ROOT = HERE.parent
SECONDS_PER_MAIL = 2
VISITORS = 10
RATE = 50


class SlowMailbox(Mailbox):
    """Takes ``SECONDS_PER_MAIL`` for each mail."""

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        await asyncio.sleep(SECONDS_PER_MAIL)
        return await super().handle_DATA(server, session, envelope)


@contextmanager
def process(folder, env, *command):
    with (folder / f"{command[0]}.log").open("ab") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=HERE, env=env, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield started
    finally:
        os.killpg(started.pid, signal.SIGKILL)
        started.wait(30)


class Site:
    """The web process, and any number of visitors, who send the same form."""

    _visitors = count(1)

    def __init__(self, port):
        self.port = port
        end = time.monotonic() + 30
        while True:
            with suppress(OSError):
                status, headers, page = self.request("GET", "/contact")
                break
            if time.monotonic() > end:
                raise TimeoutError
            time.sleep(0.1)
        assert status == 200, page
        token = re.search(rb'form_token" value="([^"]+)', page)[1].decode()
        self.cookie = headers["Set-Cookie"].split(";")[0]
        mail = {"sender": "ann@example.org", "subject": "Hours", "text": "Are you open on Sunday?"}
        self.form = urlencode({**mail, "form_token": token})

    def request(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def send(self, path, since=None):
        """Send a form as a new visitor; return the seconds until the response."""
        since = since or time.monotonic()
        number = next(self._visitors)
        address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        headers = {"Cookie": self.cookie, "X-Forwarded-For": address}
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        status, _, page = self.request("POST", path, self.form, **headers, **kind)
        assert status == 303, page
        return time.monotonic() - since

    def home(self):
        since = time.monotonic()
        assert self.request("GET", "/")[0] == 200
        return time.monotonic() - since


def ten(site, path):
    with ThreadPoolExecutor(VISITORS + 1) as pool:
        forms = [pool.submit(site.send, path) for _ in range(VISITORS)]
        time.sleep(0.02)
        home = pool.submit(site.home)
        took = [form.result() for form in forms]
        return {"form_s": {"median": middle(took), "max": round(max(took), 3)}, "front_page_s": round(home.result(), 3)}


def steady(site, path, seconds):
    begin = time.monotonic() + 0.5
    with ThreadPoolExecutor(64) as pool:

        def send(at):
            time.sleep(max(at - time.monotonic(), 0))
            return site.send(path, at)

        took = list(pool.map(send, [begin + number / RATE for number in range(RATE * seconds)]))
    return {"per_second": RATE, "forms": len(took), **milliseconds(took)}


def most(site, path, seconds):
    end = time.monotonic() + seconds

    def send_forms(_):
        took = []
        while time.monotonic() < end:
            took.append(site.send(path))
        return took

    with ThreadPoolExecutor(8) as pool:
        took = [each for part in pool.map(send_forms, range(8)) for each in part]
    return {"per_second": round(len(took) / seconds, 1), **milliseconds(took)}


def middle(took):
    return round(sorted(took)[len(took) // 2], 3)


def milliseconds(took):
    cuts = quantiles(took, n=100)
    figures = {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98], "max": max(took)}
    return {f"{name}_ms": round(seconds * 1000, 1) for name, seconds in figures.items()}


def measured(folder, url, seconds):
    results = {}
    for threads in (1, 8):
        [port] = free_ports(1)
        with SlowMailbox() as mailbox:
            env = {
                **os.environ,
                "PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}",
                "CELERY_BROKER_URL": url,
                "CELERY_CONFIG_MODULE": "demo.celeryconfig",
                "DEMO_DATA": str(folder / "data"),
                "DEMO_PROXIES": "1",
                "MAIL_PORT": str(mailbox.port),
            }
            server = ["gunicorn", "--bind", f"127.0.0.1:{port}", "--threads", str(threads), "contact_app:app"]
            worker = ["framework", "worker", "-c", "2", "--loglevel", "WARNING"]
            with process(folder, env, *worker), process(folder, env, *server):
                site = Site(port)
                results[f"{threads} thread{'s' * (threads > 1)}"] = {
                    "in the request": {"ten": ten(site, "/contact-in-the-request")},
                    "behind": {
                        "ten": ten(site, "/contact"),
                        "steady": steady(site, "/contact", seconds),
                        "most": most(site, "/contact", seconds / 4),
                    },
                }
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two seconds of each; nothing is written")
    quick = parser.parse_args().quick
    seconds = 2 if quick else 20
    results = {"machine": f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"}
    with tempfile.TemporaryDirectory() as named, RabbitMQ() as server:
        folder = Path(named)
        results["rabbitmq"] = measured(folder, server.vhost(), seconds)
        results["sqlite"] = measured(folder, f"sqlite:///{folder}/broker.db", seconds)
    results["load_after"] = round(os.getloadavg()[0], 1)
    print(json.dumps(results, indent=2))
    if not quick:
        (HERE / "results/contact.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
