"""`start.py`, the main job: real tasks, real mail, real files, on both brokers."""

import csv
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from framework.testing.mailbox import Mailbox
from framework.testing.rabbitmq import free_ports

pytestmark = pytest.mark.timeout(300)  # some tests run five programs in turn

ROOT = Path(__file__).parents[3]
START = [sys.executable, "-W", "error", "start.py"]
UP = [sys.executable, "-m", "framework", "up", "--"]


@pytest.fixture
def folder(tmp_path):
    """A clone of the project: its files and its samples."""
    for file in ("start.py", "celeryconfig.py", "utils.py"):
        shutil.copy(ROOT / file, tmp_path)
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    return tmp_path


@pytest.fixture
def mail_port():
    """A free port of this machine, which the system gives to no connection in the meantime."""
    return str(free_ports(1)[0])


def run(command, folder, **environment):
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )


def test_the_main_job_prints_the_greeting_the_mail_and_the_rows(folder, mail_port):
    done = run([*UP, *START], folder, MAIL_PORT=mail_port)

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "Waiting for 6 tasks"
    assert "Hello, OMSTD! This is the main task." in lines
    assert "A mail came in for webmaster@localhost; an answer goes to Ann <ann@example.org>:" in lines
    assert "  | Are you open on Sunday?" in lines
    assert "4 files were scanned; exports/results.csv has 4 new rows:" in lines
    assert max(map(len, lines)) <= 80
    with (folder / "exports/results.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["file"] for row in rows) == ["drill.txt", "invoice.txt", "invoice.txt", "macro.txt"]
    assert all(any(row["description"] in line for line in lines) for row in rows)


def test_a_second_run_prints_only_the_new_rows(folder, mail_port):
    script = f"{sys.executable} start.py > first && {sys.executable} start.py > second"

    done = run([*UP, "sh", "-c", script], folder, MAIL_PORT=mail_port)

    assert done.returncode == 0, done.stderr
    assert (folder / "first").read_text().count("has 4 new rows") == 1
    assert (folder / "second").read_text().count("has 4 new rows") == 1
    assert (folder / "second").read_text().count("macro.txt") == 1


def test_a_mail_server_that_runs_already_receives_the_mail(folder):
    with Mailbox() as mailbox:
        done = run([*UP, *START], folder, MAIL_PORT=str(mailbox.port))

    assert done.returncode == 0, done.stderr
    [mail] = mailbox.messages
    assert mail["Subject"] == "Opening hours"
    assert f"A mail went to the mail server that is configured: {mail['Message-ID']}" in done.stdout


def test_on_rabbitmq_it_runs_beside_a_worker_in_another_terminal(folder, mail_port, rabbitmq):
    url = rabbitmq.vhost()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CELERY_BROKER_URL": url, "MAIL_PORT": mail_port}
    worker = subprocess.Popen(
        [sys.executable, "-m", "framework", "worker", "-c", "2"],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        # It may start before the worker is ready: its tasks wait in the queue.
        done = run(START, folder, CELERY_BROKER_URL=url, MAIL_PORT=mail_port)
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait(60)

    assert done.returncode == 0, done.stderr
    assert "4 files were scanned; exports/results.csv has 4 new rows:" in done.stdout


def only_error(done):
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    return line


def test_a_missing_worker_is_an_error_with_the_command_that_starts_one(folder, mail_port):
    done = run(START, folder, CELERY_BROKER_URL=f"sqlite:///{folder}/alone.db", MAIL_PORT=mail_port)

    assert "No worker answers at sqlite:///" in only_error(done)
    assert "start one with `framework worker`" in only_error(done)


def test_a_missing_broker_is_an_error_at_once(folder, mail_port):
    done = run(START, folder, CELERY_BROKER_URL="amqp://guest:guest@127.0.0.1:1//", MAIL_PORT=mail_port)

    assert "The broker amqp://guest:**@127.0.0.1:1// cannot be used" in only_error(done)


def test_a_failed_task_is_named_with_its_cause(folder, mail_port):
    shutil.rmtree(folder / "samples/rules")

    done = run([*UP, *START], folder, MAIL_PORT=mail_port)

    line = only_error(done)
    assert line.startswith("Error: The scan of drill.txt failed: ")
    assert "samples/rules" in line


def test_an_invalid_setting_is_named(folder):
    assert "The environment variable MAIL_PORT is 'many'" in only_error(run(START, folder, MAIL_PORT="many"))
