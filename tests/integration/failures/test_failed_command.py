"""`framework failed`, on both brokers: its output, and that a killed command loses no task."""

import json
import signal
import subprocess
import sys
from collections import Counter

import pytest
from kombu import Connection

from framework.failures import Failures, reader
from framework.failures.headers import failure_headers
from framework.failures.queue import failed_queue
from framework.failures.reader import FailedQueue

FAILED = [sys.executable, "-m", "framework", "failed"]

#: The command; `kill -9` ends it before a task is retried, between that and its removal, or after both.
KILLED_DURING_RETRY = """
import os, random, signal
from framework.cli import main
from framework.failures.reader import FailedQueue

steps_left = random.randint(1, 50)

def killed_around(step):
    def call(queue, entry):
        killed_here()
        step(queue, entry)
        killed_here()
    return call

def killed_here():
    global steps_left
    steps_left -= 1
    if not steps_left:
        os.kill(os.getpid(), signal.SIGKILL)

FailedQueue.retry = killed_around(FailedQueue.retry)
FailedQueue.remove = killed_around(FailedQueue.remove)
main()
"""


@pytest.fixture(autouse=True)
def long_timeouts(monkeypatch):
    """Here, wait for the end of a reader for as long as a busy broker needs to see it."""
    monkeypatch.setattr(reader, "LOCK_TIMEOUT_SECONDS", 60.0)


@pytest.fixture
def typed(project, environment):
    """Return a function that runs `framework failed ...` in the project's folder."""

    def run(*args, answer=""):
        return subprocess.run(
            [*FAILED, *args], cwd=project, env=environment, input=answer, capture_output=True, text=True, timeout=110
        )

    return run


@pytest.fixture
def channel(app, broker_url):
    with Connection(broker_url, transport_options={"confirm_publish": True}) as connection:
        failed_queue("celery.failed")(connection.default_channel).declare()
        app.amqp.queues["celery"](connection.default_channel).declare()
        yield connection.default_channel


@pytest.fixture
def fail(channel):
    """Publish a message to the failed-task queue, as a worker does."""

    def publish(id, args=(), kwargs=None, *, task="probe.tasks.any-name.write", reason="failed", error="boom"):  # noqa: A002
        why = failure_headers(
            reason=reason, error=error, traceback=f"Traceback\n{error}", attempts=2, worker="w1@host", queue="celery"
        )
        headers = {"lang": "py", "id": id, "task": task, "retries": 1, **why}
        body = json.dumps([list(args), kwargs or {}, {}])
        message = channel.prepare_message(body, None, "application/json", "utf-8", headers)
        channel.basic_publish(message, exchange="celery.failed", routing_key="", mandatory=True)

    return publish


def answered(run, status=0):
    assert run.returncode == status, run.stderr
    assert "Traceback (most" not in run.stderr
    return run.stdout.splitlines()


def one_line(run, status=1):
    assert not answered(run, status)
    (error,) = (line for line in run.stderr.splitlines() if line.startswith("Error: "))
    assert run.stderr.endswith(f"{error}\n")
    return error


def test_no_failed_tasks(typed):
    assert answered(typed("list")) == ["There are no failed tasks."]
    assert answered(typed("retry", "--all")) == ["0 failed tasks sent again."]


def test_a_list_has_id_call_and_error_in_eighty_columns(typed, fail):
    fail("8f14e45f-ceea-467f-a8a5-6e4b2e1b7e22", [1, "x" * 200], {"password": "hunter22"}, error="ValueError: " * 20)
    fail("b", ["two"], {"day": "today", "password": "hunter22"}, reason="delivery_limit")

    lines = answered(typed("list"))

    assert lines[0].startswith("8f14e45f-ceea-467f-a8a5-6e4b2e1b7e22  failed          20")
    assert lines[1].startswith('    probe.tasks.any-name.write(1, "xxx')
    assert lines[3].split()[:2] == ["b", "delivery_limit"]
    assert lines[4:] == [
        '    probe.tasks.any-name.write("two", day="today", password="***")',
        "    boom",
        "2 failed tasks.",
    ]
    assert max(map(len, lines)) <= 80


def test_pages_and_selections(typed, fail):
    for number in range(5):
        fail(f"id-{number}", reason="timeout" if number == 3 else "failed")

    first = answered(typed("list", "--limit", "2"))
    assert [line.split()[0] for line in first if line.startswith("id")] == ["id-0", "id-1"]
    assert first[-1] == "2 failed tasks; 5 in all. The next ones: --offset 2"
    assert answered(typed("list", "--reason", "timeout"))[-1] == "1 failed task of this kind."
    assert answered(typed("list", "--task", "no.such"))[-1] == "There are no failed tasks of this kind."
    found = json.loads(typed("list", "--json", "--offset", "3").stdout)
    assert [(task["id"], task["reason"], task["args"]) for task in found] == [
        ("id-3", "timeout", []),
        ("id-4", "failed", []),
    ]


def test_show_prints_all_fields_and_no_control_character(typed, fail):
    fail("a", ["\x1b[2J"], {"token": "t-123456"}, error="RuntimeError: \x1b]0;owned\x07 t-123456")

    text = "\n".join(answered(typed("show", "a")))

    for known in ("probe.tasks.any-name.write", "failed", "w1@host", "celery", "Traceback", '{"token": "***"}'):
        assert known in text
    assert "t-123456" not in text
    assert "\x1b" not in text
    assert "\x07" not in text
    assert json.loads(typed("show", "a", "--json").stdout)["attempts"] == 2


def test_an_unknown_id_gets_the_nearest(typed, fail):
    fail("8f14e45f-ceea-467f-a8a5-6e4b2e1b7e22")

    for command in ("show", "retry", "drop"):
        assert "Did you mean '8f14e45f-ceea-467f-a8a5-6e4b2e1b7e22'?" in one_line(typed(command, "8f14e"))


def test_ids_or_all_but_not_both_and_not_neither(typed):
    assert "Give either their ids or --all" in one_line(typed("retry"), 2)
    assert "Give either their ids or --all" in one_line(typed("drop", "a", "--all"), 2)


def test_drop_all_needs_a_confirmation(typed, fail, app):
    fail("a")
    fail("b", reason="malformed")

    no = typed("drop", "--all", answer="n\n")
    assert no.returncode == 1
    assert Failures(app).count() == 2
    assert answered(typed("drop", "--all", "--reason", "malformed", "--yes")) == ["1 failed task dropped."]
    assert answered(typed("drop", "--all", answer="y\n"))[-1].endswith("1 failed task dropped.")
    assert Failures(app).count() == 0


def test_export_to_a_file_and_to_the_standard_output(typed, fail, project):
    fail("a", ["ü"], {"password": "hunter22"})

    assert answered(typed("export", "out.jsonl")) == ["1 failed task written to out.jsonl."]
    piped = typed("export", "-", "--redacted")

    assert json.loads((project / "out.jsonl").read_text())["kwargs"] == {"password": "hunter22"}
    assert json.loads(piped.stdout)["kwargs"] == {"password": "***"}
    assert piped.stderr.splitlines()[-1] == "1 failed task written to the standard output."
    assert "no-such-folder" in one_line(typed("export", "no-such-folder/out.jsonl"))


def test_a_second_reader_gets_an_error_while_the_first_reads(typed, fail, app):
    fail("a")

    with FailedQueue(app) as first:
        assert [entry.id for entry in first] == ["a"]
        assert "Another `framework failed`" in one_line(typed("list"))

    assert answered(typed("list"))[-1] == "1 failed task."


@pytest.mark.parametrize("command", ["list", "show a", "retry --all", "drop a", "export x"])
def test_a_broker_that_is_down_is_one_line(command, project, environment):
    environment = {**environment, "CELERY_BROKER_URL": "amqp://ann:secret@127.0.0.1:1//"}

    run = subprocess.run(
        [*FAILED, *command.split()], cwd=project, env=environment, capture_output=True, text=True, timeout=110
    )

    assert "amqp://ann:**@127.0.0.1:1//" in one_line(run)


def test_tasks_retried_while_workers_run_are_run(typed, fail, start_worker, noted, eventually):
    start_worker()
    for number in range(20):
        fail(f"id-{number}", [number])

    assert answered(typed("retry", "id-3", "id-4")) == ["2 failed tasks sent again."]
    assert answered(typed("retry", "--all", "--task", "probe.tasks.any-name.write")) == ["18 failed tasks sent again."]

    eventually(lambda: len(noted("written")) >= 20)
    assert sorted(map(int, noted("written"))) == list(range(20))


def test_a_task_failed_in_a_worker_is_listed_and_fails_again_when_retried(typed, call, app, start_worker, eventually):
    start_worker()
    sent = call("boom").apply_async()
    eventually(lambda: Failures(app).count() == 1)

    (task,) = json.loads(typed("list", "--json").stdout)
    assert (task["id"], task["task"], task["reason"]) == (sent.id, "probe.tasks.any-name.boom", "failed")
    assert "boom" in task["error"]
    assert (task["args"], task["kwargs"], task["queue"], task["attempts"]) == ([], {}, "celery", 1)
    assert 'raise ValueError("boom")' in task["traceback"]
    assert answered(typed("retry", sent.id)) == ["1 failed task sent again."]
    eventually(lambda: Failures(app).count() == 1)

    assert Failures(app).get(sent.id).manual_retries == 1


KILLS = 6


@pytest.mark.timeout(600)
def test_kills_in_the_middle_of_retry_all_over_300_entries_lose_none(fail, channel, project, environment, app):
    everything = {f"id-{number}" for number in range(300)}
    for number in range(300):
        fail(f"id-{number}", [number])

    for _ in range(KILLS):
        run = subprocess.run(
            [sys.executable, "-c", KILLED_DURING_RETRY, "failed", "retry", "--all"],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            timeout=110,
        )
        assert run.returncode == -signal.SIGKILL, run.stdout + run.stderr
    left = Failures(app).count()
    Failures(app).retry("all")

    sent = Counter(message.headers["id"] for message in iter(lambda: channel.basic_get("celery", no_ack=True), None))
    assert left > 0
    assert set(sent) == everything
    assert Failures(app).count() == 0
    assert sent.total() - 300 <= KILLS * 3
