"""The pytest plugin, which keeps tests off every real broker, and the worker for tests."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from framework.errors import ServiceDied
from framework.testing.worker import Worker

EXAMPLE = Path(__file__).parents[3] / "docs/examples/testing"


@pytest.fixture
def shop(tmp_path):
    """The project of the guide's page on tests."""
    return shutil.copytree(EXAMPLE, tmp_path / "shop", ignore=shutil.ignore_patterns("__pycache__"))


def pytest_in(folder, *options, **environment):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    return subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )


def test_the_tests_of_the_guide_pass_on_both_brokers(shop, broker, broker_url):
    options = ["--task-broker", broker_url] if broker == "rabbitmq" else []

    done = pytest_in(shop, *options)

    assert done.returncode == 0, done.stdout
    assert "8 passed" in done.stdout


def test_no_test_reaches_the_broker_of_the_settings(shop):
    """Also a test without a fixture; nothing listens on port 1."""
    (shop / "tests/test_call.py").write_text(
        "from shop.tasks.orders import ship\n\ndef test_a_call():\n    assert ship.delay(7).id\n"
    )

    done = pytest_in(shop, "tests/test_call.py", CELERY_BROKER_URL="amqp://guest:guest@127.0.0.1:1//")

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"])
def test_no_test_reaches_a_broker_that_another_variable_names(shop, name):
    (shop / "tests/test_call.py").write_text(
        "import os\nfrom framework.celery.celery import celery\n\n"
        "def test_a_call(task_broker):\n"
        "    used = {celery.conf.broker_read_url, celery.conf.broker_write_url, os.environ['BROKER_URL']}\n"
        "    assert used == {task_broker}\n"
    )

    done = pytest_in(shop, "tests/test_call.py", **{name: "amqp://guest:guest@127.0.0.1:1//"})

    assert done.returncode == 0, done.stdout


def test_a_worker_wins_over_the_broker_of_celery_s_command_line_and_has_the_application_of_the_environment(
    tmp_path, monkeypatch
):
    (tmp_path / "shop.py").write_text("from framework.celery.app import App\napp = App('shop_of_the_environment')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CELERY_APP", "shop")
    monkeypatch.setenv("BROKER_URL", "amqp://guest:guest@127.0.0.1:1//")

    with Worker(f"sqlite:///{tmp_path}/broker.db", "--concurrency=1") as worker:
        assert "shop_of_the_environment" in worker.output


def test_nothing_is_left_behind(shop, tmp_path):
    folder = tmp_path / "temporary"
    folder.mkdir()

    done = pytest_in(shop, "tests/test_orders_run.py", TMPDIR=str(folder))

    assert done.returncode == 0, done.stdout
    assert [path.name for path in folder.iterdir() if path.name.startswith(("broker-", "worker-"))] == []


def test_a_worker_serves_the_given_application_and_queues(tmp_path, monkeypatch):
    for name in ("before", "after"):
        shutil.copytree(EXAMPLE.parent / "plain_celery" / name, tmp_path, dirs_exist_ok=True)
    url = f"sqlite:///{tmp_path}/broker.db"
    monkeypatch.chdir(tmp_path)
    call = "from shop.tasks import pack; print(pack.apply_async((7,), queue='parcels').get(timeout=60))"

    with Worker(url, "--queues=parcels", app="shop.app") as worker:
        done = subprocess.run(
            [sys.executable, "-c", call],
            env=os.environ | {"CELERY_BROKER_URL": url},
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.stdout == "order 7 is packed\n", done.stderr
        assert "packing order 7" in worker.output


def test_a_worker_that_cannot_start_raises_with_the_cause(tmp_path, monkeypatch):
    (tmp_path / "celeryconfig.py").write_text("imports = ['no_such_module']\n")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ServiceDied, match="no_such_module"), Worker(f"sqlite:///{tmp_path}/broker.db"):
        pass


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at a process through Linux's /proc")
def test_a_worker_ends_with_a_test_run_that_is_killed(shop, tmp_path):
    (shop / "tests/test_killed.py").write_text(
        "import os, signal\n\n"
        "def test_killed(task_worker):\n"
        f"    open({str(tmp_path / 'pid')!r}, 'w').write(str(task_worker.pid))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )

    done = pytest_in(shop, "tests/test_killed.py")

    assert done.returncode == -signal.SIGKILL
    assert ended(int((tmp_path / "pid").read_text()))


def ended(pid, seconds=60):
    """Whether a process that is not a child ends in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False
