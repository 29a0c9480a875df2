"""The demo is started and stopped, killed, and refuses what it cannot do."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import httpx
import pytest

from framework.testing.rabbitmq import free_ports
from tests.demo.conftest import ROOT, WAIT, Demo

pytestmark = pytest.mark.timeout(120)
MAILS = 20


def test_a_port_that_is_taken_is_one_line_which_says_what_to_do(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "demo"],
            cwd=ROOT,
            env={**os.environ, "DEMO_PORT": str(port), "DEMO_DATA": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=WAIT,
            check=False,
        )

    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: Cannot listen on 127.0.0.1, port {port}")
    assert done.stderr.count("\n") == 1


def test_it_ends_when_it_is_told_to_and_begins_again_with_what_there_was(tmp_path):
    demo = Demo(tmp_path)
    assert httpx.get(f"{demo.url}/mails").status_code == 200
    assert demo.stop(signal.SIGTERM) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)

    again = Demo(tmp_path)
    assert httpx.get(f"{again.url}/mails").status_code == 200
    assert again.stop(signal.SIGINT) in (0, 128 + signal.SIGINT)


class Site:
    """The application under gunicorn, the worker, and what is outside: each a process of its own."""

    def __init__(self, folder, broker_url):
        web, mail, api = free_ports(3)
        self.url = f"http://127.0.0.1:{web}"
        self.mails = folder / "data" / "mails"
        self._environment = {
            **os.environ,
            "CELERY_BROKER_URL": broker_url,
            "CELERY_CONFIG_MODULE": "demo.celeryconfig",
            "PYTHONPATH": str(ROOT),
            "DEMO_DATA": str(folder / "data"),
            "DEMO_API_URL": f"http://127.0.0.1:{api}",
            "DEMO_PROXIES": "1",
            "DEMO_SECRET_KEY": "not a secret, this is a test",
            "MAIL_PORT": str(mail),
        }
        self._folder = folder
        self._processes = []
        gunicorn = ["gunicorn", "--bind", f"127.0.0.1:{web}", "--threads", "8", "demo:create_app()"]
        self.web = self.start(*gunicorn)

    def start(self, *command):
        with (self._folder / f"{len(self._processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def wait_until(self, true):
        until = time.monotonic() + WAIT
        while not true():
            assert time.monotonic() < until, "".join(log.read_text() for log in self._folder.glob("*.log"))
            time.sleep(0.05)

    def answers(self):
        try:
            return httpx.get(f"{self.url}/contact").status_code == 200
        except httpx.TransportError:
            return False

    def delivered(self):
        return len(list(self.mails.glob("[!.]*")))

    def end(self):
        for process in self._processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(WAIT)


@pytest.fixture
def site(tmp_path, broker_url):
    running = Site(tmp_path, broker_url)
    yield running
    running.end()


def test_whoever_was_answered_has_their_mail_sent_though_the_server_is_killed_right_after(site):
    # Given a site whose worker and mail server are not there yet
    site.wait_until(site.answers)

    # When visitors, each with an address of their own, send their forms, and the site is killed after the last answer
    for number in range(MAILS):
        with httpx.Client(base_url=site.url, headers={"X-Forwarded-For": f"192.0.2.{number + 1}"}) as visitor:
            token = re.search('form_token" value="([^"]+)', visitor.get("/contact").text)[1]
            form = {"sender": "ann@example.org", "subject": f"Mail {number}", "text": "Hello", "form_token": token}
            assert visitor.post("/contact", data=form).status_code == 303
    os.killpg(site.web.pid, signal.SIGKILL)

    # Then every mail arrives, once there is a worker
    site.start("demo.outside")
    site.start("framework", "worker", "--loglevel", "INFO", "-c", "2")
    site.wait_until(lambda: site.delivered() == MAILS)
