"""A task that expires before it is run ends as revoked: in a queue, in a delay, and between two tries."""

import shutil
import socket
import subprocess

import pytest
from celery.exceptions import TaskRevokedError

from framework import Failures

WAIT = 60


@pytest.fixture(params=["rpc", "database", "redis"])
def result_backend(request, project):
    """The URL of a result backend."""
    if request.param == "redis":
        return request.getfixturevalue("redis_url")
    return {"rpc": "rpc://", "database": f"db+sqlite:///{project}/results.db?timeout=60"}[request.param]


@pytest.fixture
def redis_url(tmp_path, eventually):
    """The URL of a private Redis."""
    redis = pytest.importorskip("redis", reason="the package redis is not installed")
    if not shutil.which("redis-server"):
        pytest.skip("Redis is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    server = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port)

    def answers():
        try:
            return client.ping()
        except redis.ConnectionError:
            return False

    eventually(answers)
    yield f"redis://127.0.0.1:{port}/0"
    client.close()
    server.kill()
    server.wait()


@pytest.mark.parametrize("protocol", [1, 2])
def test_a13_a_task_that_expires_behind_another_is_revoked(
    start_worker, app, result_backend, call, project, noted, eventually, protocol
):
    app.conf.task_protocol = protocol
    start_worker("-c1", CELERY_RESULT_BACKEND=result_backend)
    running = call("work", 1, until="go").apply_async()
    eventually(lambda: noted("started") == ["1"])

    expired = call("write", "late").apply_async(expires=0.2)
    following = call("write", "next").apply_async(expires=WAIT)
    with pytest.raises(Exception, match="timed out"):
        expired.get(0.5, interval=0.1)
    (project / "go").touch()

    with pytest.raises(TaskRevokedError, match="expired"):
        expired.get(WAIT, interval=0.1)
    assert following.get(WAIT, interval=0.1) == "next"
    assert running.get(WAIT, interval=0.1) == 1
    assert noted("written") == ["next"]
    assert Failures(app).count() == 0


def test_a13_a_task_that_expires_while_it_is_delayed_is_revoked(start_worker, app, result_backend, call, noted):
    start_worker("-c1", CELERY_RESULT_BACKEND=result_backend)

    expired = call("write", "late").apply_async(countdown=1.5, expires=0.2)

    with pytest.raises(TaskRevokedError, match="expired"):
        expired.get(WAIT, interval=0.1)
    assert noted("written") == []
    assert Failures(app).count() == 0


def test_a13_a_message_that_a_worker_publishes_again_keeps_its_expiry_for_the_worker(
    start_worker, app, result_backend, call
):
    """A retry carries the expiry of its first call."""
    start_worker("-c1", CELERY_RESULT_BACKEND=result_backend)

    retried = call("flaky", 3).apply_async(expires=0.5)  # its retries take 0.9 s

    with pytest.raises(TaskRevokedError, match="expired"):
        retried.get(WAIT, interval=0.1)
