"""Flower, Celery's usual monitor, lists workers and calls tasks, on both brokers."""

import json
import subprocess
import sys
from urllib.request import Request, urlopen

import pytest

from framework.testing.rabbitmq import free_ports

pytest.importorskip("flower")


@pytest.fixture
def flower(project, environment, start_worker):
    """A function that sends a request to the API of a running Flower."""
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

    def request(path, body=None):
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(f"http://127.0.0.1:{port}{path}", data=data), timeout=60) as response:
            return json.load(response)

    yield request
    process.kill()
    process.wait()


def response(flower, path):
    """Return the response to a request; None while Flower starts."""
    try:
        return flower(path)
    except OSError:
        return None


def test_flower_lists_the_worker_and_calls_a_task_by_name(flower, noted, eventually):
    eventually(lambda: response(flower, "/api/workers?refresh=1"))
    # Flower knows by an event that the worker is alive: it receives those of the task too.
    eventually(lambda: True in (response(flower, "/api/workers?status=1") or {}).values())

    name = "probe.tasks.any-name.write"
    sent = flower(f"/api/task/async-apply/{name}", {"args": ["from Flower"]})

    eventually(lambda: noted("written") == ["from Flower"])
    eventually(lambda: (response(flower, f"/api/task/info/{sent['task-id']}") or {}).get("state") == "SUCCESS")
