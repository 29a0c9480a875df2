"""The demo is started, stopped and killed, and reports a taken port."""

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

pytestmark = pytest.mark.timeout(600)
MAILS = 20


def test_a_taken_port_is_an_error_of_one_line(tmp_path):
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


def test_it_ends_on_a_signal_and_starts_again_with_its_data(tmp_path):
    demo = Demo(tmp_path)
    assert httpx.get(f"{demo.url}/mails", timeout=WAIT).status_code == 200
    assert demo.stop(signal.SIGTERM) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)

    again = Demo(tmp_path)
    assert httpx.get(f"{again.url}/mails", timeout=WAIT).status_code == 200
    assert again.stop(signal.SIGINT) in (0, 128 + signal.SIGINT)


class Site:
    """The application under gunicorn, the worker, and the external services, in processes."""

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

    def wait_until(self, condition):
        end = time.monotonic() + WAIT
        while not condition():
            assert time.monotonic() < end, "".join(log.read_text() for log in self._folder.glob("*.log"))
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


def test_every_accepted_form_is_mailed_although_the_server_is_killed_right_after(site):
    # Given a site without worker and mail server
    site.wait_until(site.answers)

    # When visitors, each with another address, send their forms, and the site is killed after the last response
    for number in range(MAILS):
        address = {"X-Forwarded-For": f"192.0.2.{number + 1}"}
        with httpx.Client(base_url=site.url, headers=address, timeout=WAIT) as visitor:
            token = re.search('form_token" value="([^"]+)', visitor.get("/contact").text)[1]
            form = {"sender": "ann@example.org", "subject": f"Mail {number}", "text": "Hello", "form_token": token}
            assert visitor.post("/contact", data=form).status_code == 303
    os.killpg(site.web.pid, signal.SIGKILL)

    # Then every mail arrives, once a worker runs
    site.start("demo.external")
    site.start("framework", "worker", "--loglevel", "INFO", "-c", "2")
    site.wait_until(lambda: site.delivered() == MAILS)
