"""The how-to pages, followed literally: every file is written and every command typed."""

import json
import os
import shutil
import socket
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import Popen
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from recording.follower import Follower

from framework.testing.mailbox import Mailbox
from framework.testing.rabbitmq import free_ports
from framework.testing.worker import Worker

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def on_rabbitmq(rabbitmq):
    """The URL of an empty virtual host."""
    url = rabbitmq.vhost()
    yield url
    rabbitmq.drop_vhost(url)


@contextmanager
def mail_server():
    """Run a mail server and yield its port as text."""
    with Mailbox() as mailbox:
        yield str(mailbox.port)


def test_a_project_of_plain_celery_is_migrated_with_the_messages_in_its_queue(on_rabbitmq, tmp_path):
    with Follower(tmp_path, on_rabbitmq) as follower:
        differences = follower.differences(DOCS / "migrating.md")

    assert not differences, differences


def test_a_project_of_2014_runs_with_one_line_changed(on_rabbitmq, tmp_path):
    ours = tmp_path / "omstd-framework"
    shutil.copytree(ROOT / "framework", ours / "framework", ignore=shutil.ignore_patterns("__pycache__"))
    with mail_server() as port, Follower(tmp_path, on_rabbitmq, PYTHONPATH=str(ours), MAIL_PORT=port) as follower:
        differences = follower.differences(DOCS / "from-omstd.md")
        sent_by_the_schedule = contains(ours / "exports/results.csv", "http://example.net", seconds=20)

    assert not differences, differences
    assert sent_by_the_schedule


def contains(path, text, seconds):
    """Return whether a file that another process writes contains a text within some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if path.exists() and text in path.read_text():
            return True
        time.sleep(0.05)
    return False


def test_a_page_with_another_output_than_its_commands_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    file = "```{code-block} python\n:caption: hello.py\n\nprint('Hello')\n```\n"
    page.write_text(f"{file}\n```console\n$ python hello.py\nHallo\n```\n")

    with Follower(tmp_path, "") as follower:
        differences = follower.differences(page, "embedded")

    assert "- Hallo" in differences
    assert "+ Hello" in differences


def test_tasks_are_retried_as_the_page_says(tmp_path):
    with Follower(tmp_path, "") as follower:
        differences = follower.differences(DOCS / "retry.md", "embedded")

    assert not differences, differences


def test_the_tests_that_the_page_shows_pass(tmp_path):
    with Follower(tmp_path, "") as follower:
        differences = follower.differences(DOCS / "testing.md", "embedded")

    assert not differences, differences


def test_a_django_site_calls_its_task_after_the_commit(tmp_path):
    with Follower(tmp_path, "") as follower:
        differences = follower.differences(DOCS / "frameworks.md", "embedded")

    assert not differences, differences


@pytest.fixture
def orders(tmp_path):
    """The URL of the FastAPI example, without a worker."""
    folder = shutil.copytree(DOCS / "examples/fastapi_orders", tmp_path / "orders")
    [port] = free_ports(1)
    command = [sys.executable, "-m", "uvicorn", "--port", str(port), "--log-level", "warning", "api:app"]
    environment = os.environ | {"CELERY_BROKER_URL": f"sqlite:///{tmp_path}/broker.db"}
    with Popen(command, cwd=folder, env=environment) as server:
        wait_until_it_listens(port, server)
        yield f"http://127.0.0.1:{port}"
        server.terminate()


@pytest.mark.parametrize("path", ["orders", "quick"])
def test_fastapi_places_an_order_and_returns_its_result(orders, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path / "orders")

    status, _, placed = fetch(f"{orders}/{path}/Ann", data=b"")
    too_soon, headers, _ = fetch(f"{orders}/{path}/Ann", data=b"")
    with Worker(f"sqlite:///{tmp_path}/broker.db"):
        state = final_state(f"{orders}/tasks/{placed['task']}")

    assert status == 202
    assert state == {"status": "success", "result": "Thank you, Ann"}
    assert (too_soon, 0 < int(headers["Retry-After"]) <= 10) == (429, True)
    assert fetch(f"{orders}/tasks/unknown")[0] == 404


def test_fastapi_answers_503_without_a_broker(orders, tmp_path):
    for file in tmp_path.glob("broker.db*"):
        file.unlink()
    (tmp_path / "broker.db").mkdir()

    assert fetch(f"{orders}/orders/Ann", data=b"")[0] == 503


def wait_until_it_listens(port, server, seconds=30):
    end = time.monotonic() + seconds
    while server.poll() is None and time.monotonic() < end:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.05)
    pytest.fail("The server does not listen.")


def fetch(url, data=None):
    """Return the status, the headers and the JSON of a response."""
    try:
        with urlopen(Request(url, data), timeout=30) as response:
            return response.status, response.headers, json.load(response)
    except HTTPError as refused:
        with refused:
            return refused.code, refused.headers, json.load(refused)


def final_state(url, seconds=30):
    """Return the state of a task that has ended, or its last state."""
    end = time.monotonic() + seconds
    while (state := fetch(url)[2])["status"] in {"queued", "started"} and time.monotonic() < end:
        time.sleep(0.05)
    return state
