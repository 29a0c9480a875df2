"""The calls that existing scripts make, with a real worker and a real mail server, on both brokers."""

import pytest

from framework.errors import FrameworkWarning
from framework.testing.mailbox import Mailbox

WAIT = 60
SEND_MAIL = "framework.tasks.send_mails.send_mail"


@pytest.fixture
def mailbox():
    with Mailbox() as mailbox:
        yield mailbox


@pytest.fixture
def worker(start_worker, mailbox):
    return start_worker(MAIL_SERVER="127.0.0.1", MAIL_PORT=str(mailbox.port))


def test_send_mail_by_name_without_params_delivers_a_mail(worker, app, mailbox):
    celery = app

    celery.send_task("framework.tasks.send_mails.send_mail")  # Without params

    mail = mailbox.wait_for(1, timeout=WAIT)[0]
    assert mail["To"] == "webmaster@localhost"
    assert mail["Reply-To"] is None


def test_send_mail_by_name_with_a_lone_string_delivers_a_mail_from_that_sender(worker, app, mailbox):
    celery = app

    with pytest.warns(FrameworkWarning, match="lone string"):
        celery.send_task("framework.tasks.send_mails.send_mail", ("From my@my.com"))  # With params

    assert mailbox.wait_for(1, timeout=WAIT)[0]["Reply-To"] == "my@my.com"


def test_the_hello_task_runs_by_name(worker, app):
    assert app.send_task("framework.tasks.main_task.main_task").get(WAIT)


def test_a_mail_that_fails_is_retried_after_four_seconds(start_worker, app, eventually):
    with Mailbox(fail_first=1) as mailbox:
        worker = start_worker(MAIL_SERVER="127.0.0.1", MAIL_PORT=str(mailbox.port))

        app.send_task(SEND_MAIL, kwargs={"sender": "ann@x.org", "text": "Hello?"})

        assert "Hello?" in mailbox.wait_for(1, timeout=WAIT)[0].get_content()
    eventually(lambda: "Retry in 4s" in worker.output)


def test_the_worker_lists_the_tasks_of_the_framework_and_of_the_project(start_worker):
    listed = start_worker().output

    assert "  . framework.tasks.send_mails.send_mail\n" in listed
    assert "  . framework.tasks.main_task.main_task\n" in listed
    assert "  . probe.tasks.any-name.add\n" in listed
