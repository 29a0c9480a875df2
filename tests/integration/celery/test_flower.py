"""Flower, the monitor that Celery's users know, sees our workers and calls our tasks, on both brokers."""

import json
import subprocess
import sys
from urllib.request import Request, urlopen

import pytest

from framework.testing.rabbitmq import free_ports

pytest.importorskip("flower")


@pytest.fixture
def flower(project, environment, start_worker):
    """The address of Flower's API, and a function that asks it."""
    start_worker("-E")
    [port] = free_ports(1)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "framework.celery.celery",
            "flower",
            "--address=127.0.0.1",
            f"--port={port}",
        ],
        cwd=project,
        env={**environment, "FLOWER_UNAUTHENTICATED_API": "true"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def ask(path, body=None):
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(f"http://127.0.0.1:{port}{path}", data=data), timeout=20) as answer:
            return json.load(answer)

    yield ask
    process.kill()
    process.wait()


def answers(ask, path):
    try:
        return ask(path)
    except OSError:
        return None


def test_flower_lists_the_worker_and_calls_a_task_by_name(flower, noted, eventually):
    eventually(lambda: answers(flower, "/api/workers?refresh=1"))

    name = "probe.tasks.any-name.tell"
    sent = flower(f"/api/task/async-apply/{name}", {"args": ["from Flower"]})

    eventually(lambda: noted("told") == ["from Flower"])
    eventually(lambda: (answers(flower, f"/api/task/info/{sent['task-id']}") or {}).get("state") == "SUCCESS")
