"""The bundled tasks, run without a worker."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from celery.signals import task_retry

from framework.errors import BadEnvironment, BadMail
from framework.tasks.export_results_task import export_to_csv
from framework.tasks.main_task import main_task
from framework.tasks.send_mails import send_mail
from framework.testing.mailbox import Mailbox

ROOT = Path(__file__).parents[3]
WAITS = [4, 8, 16, 32, 64]


@pytest.fixture
def waits():
    """The seconds before each retry, in order, as they were given to Celery."""
    found = []

    def retried(request, reason, **_):
        found.append((request.retries, reason.when))

    task_retry.connect(retried)
    yield lambda: [seconds for _, seconds in sorted(found)]
    task_retry.disconnect(retried)


@pytest.fixture
def mail_to(monkeypatch):
    """A function that has mail sent to a port of this machine."""

    def set_port(port):
        monkeypatch.setenv("MAIL_SERVER", "127.0.0.1")
        monkeypatch.setenv("MAIL_PORT", str(port))

    return set_port


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_the_names_are_those_that_scripts_use():
    assert main_task.name == "framework.tasks.main_task.main_task"
    assert send_mail.name == "framework.tasks.send_mails.send_mail"
    assert export_to_csv.name == "framework.tasks.export_results_task.export_to_csv"


def test_the_main_task_says_hello(capsys):
    assert main_task.apply().get() == "Hello, world! This is the main task."
    assert main_task.apply(("Ána",)).get() in capsys.readouterr().out


def test_a_mail_run_twice_has_the_same_message_id_both_times(mail_to):
    with Mailbox() as mailbox:
        mail_to(mailbox.port)

        ids = [send_mail.apply(("From my@my.com",), task_id="task-1").get() for _ in range(2)]

        received = mailbox.wait_for(2)
    assert ids == [message["Message-ID"] for message in received] == ["<task-1@localhost>"] * 2
    assert received[0]["Reply-To"] == "my@my.com"


def test_a_mail_called_as_a_function_is_sent_too(mail_to):
    with Mailbox() as mailbox:
        mail_to(mailbox.port)

        assert send_mail(text="Hi") == mailbox.wait_for(1)[0]["Message-ID"]


def test_a_mail_that_the_server_refuses_for_now_is_sent_again(mail_to, waits):
    with Mailbox(fail_first=2) as mailbox:
        mail_to(mailbox.port)

        sent = send_mail.apply(kwargs={"sender": "ann@x.org"})

        assert sent.get() == mailbox.wait_for(1)[0]["Message-ID"]
        assert (len(mailbox.messages), mailbox.refused) == (1, 2)
    assert waits() == WAITS[:2]


def test_a_mail_that_cannot_be_sent_is_tried_after_4_8_16_32_and_64_seconds_and_then_has_failed(
    mail_to, waits, closed_port
):
    mail_to(closed_port)

    sent = send_mail.apply()

    assert waits() == WAITS
    assert sent.state == "FAILURE"
    assert isinstance(sent.result, ConnectionRefusedError)


def test_the_waits_of_one_mail_do_not_depend_on_another(mail_to, waits, closed_port):
    with Mailbox(fail_first=1) as mailbox:
        mail_to(mailbox.port)
        send_mail.apply().get()
    mail_to(closed_port)

    send_mail.apply()

    assert waits() == sorted([4, *WAITS])


def test_a_refused_mail_is_not_retried(mail_to, waits, closed_port):
    mail_to(closed_port)

    with pytest.raises(BadMail):
        send_mail.apply(("ann@x.org\nBcc: all@x.org",), throw=True)

    assert waits() == []


def test_an_invalid_setting_is_not_retried(mail_to, waits):
    mail_to("abc")

    with pytest.raises(BadEnvironment, match="MAIL_PORT is 'abc'"):
        send_mail.apply(throw=True)

    assert waits() == []


def test_rows_are_exported_to_results_csv_unless_named(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPORT_FOLDER", str(tmp_path))

    assert export_to_csv.apply(([{"a": 1}, {"a": 2}],)).get() == 2
    assert export_to_csv.apply(kwargs={"rows": [["x"]], "filename": "other.csv"}).get() == 1

    assert (tmp_path / "results.csv").read_text("utf-8-sig") == '"a"\n"1"\n"2"\n'
    assert (tmp_path / "other.csv").read_text("utf-8-sig") == '"x"\n'


# The memory transport lives in one process, so the queue is read where it was filled.
SCAN_AND_READ_THE_QUEUE = """
import json
from framework.celery.celery import celery
from framework.tasks.yara_task import yara_task

matches = yara_task.apply(("invoice.txt",)).get()
with celery.connection_for_read() as connection, connection.SimpleQueue("celery") as queue:
    sent = [queue.get(timeout=5) for _ in range(queue.qsize())]
    print(json.dumps([matches, [(message.headers["task"], message.payload[0]) for message in sent]]))
"""


def test_each_match_of_a_scan_is_sent_to_be_exported_by_name():
    variables = {**os.environ, "CELERY_BROKER_URL": "memory://", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SCAN_AND_READ_THE_QUEUE]

    run = subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    assert run.returncode == 0, run.stderr
    matches, sent = json.loads(run.stdout)
    assert [match["rule"] for match in matches] == ["program_named_as_document", "urgent_invoice"]
    assert sent == [["framework.tasks.export_results_task.export_to_csv", [[match]]] for match in matches]
