"""The short examples of the how-to pages, each run."""

import os
import runpy
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from framework.config import settings_from
from framework.testing.mailbox import Mailbox
from framework.testing.worker import Worker

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
SETTINGS = sorted((EXAMPLES / "settings").glob("*.py"))

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def mailbox():
    with Mailbox() as mailbox:
        yield mailbox


@pytest.fixture(scope="module")
def shop(tmp_path_factory, mailbox):
    """A function that runs Python in the project of the examples, which has a worker."""
    folder = tmp_path_factory.mktemp("shop") / "shop"
    shutil.copytree(EXAMPLES / "howto", folder, ignore=shutil.ignore_patterns("__pycache__"))
    url = f"sqlite:///{folder}/broker.db"
    environment = os.environ | {"CELERY_BROKER_URL": url, "MAIL_PORT": str(mailbox.port)}

    def python(*command):
        done = subprocess.run(
            [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MAIL_PORT", str(mailbox.port))
        with Worker(url):
            yield python


def lines_of(shop, script):
    return shop("-c", script).splitlines()


def test_the_three_ways_to_call_send_a_mail_each(shop, mailbox):
    printed = shop("call.py")
    shop("call_by_name.py")

    assert printed.startswith("<")
    assert len(mailbox.wait_for(4, timeout=20)) == 4


def test_a_visitor_is_limited_on_the_task_and_in_the_view(shop):
    on_the_task = """
from shop.tasks.contact import contact
from framework.errors import OverLimit
contact.delay("192.0.2.7", "Hello").get(timeout=20)
try:
    contact.delay("192.0.2.7", "Hello")
except OverLimit as over:
    print(0 < over.retry_after <= 10)
contact.delay("192.0.2.8", "Hello").get(timeout=20)
"""
    in_the_view = """
from framework.celery.celery import celery
from view import view
print([view("192.0.2.7")[1] for _ in range(6)])
"""

    assert lines_of(shop, on_the_task) == ["True"]
    assert lines_of(shop, in_the_view) == ["[200, 200, 200, 200, 200, 429]"]


def test_a_report_that_is_queued_is_not_queued_again(shop):
    script = """
from shop.tasks.build import build
ids = [build.apply_async((report,), countdown=60).id for report in (7, 7, 8)]
print(ids[0] == ids[1], ids[0] == ids[2])
"""

    assert lines_of(shop, script) == ["True False"]


def test_steps_are_reported_and_watched(shop, tmp_path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("one\ntwo\n")
    sent = f"""
from shop.tasks.files import load, upload
from shop.tasks.report import report
for sent in (report.delay([{{"amount": 3}}, {{"amount": 4}}]), load.delay({str(tmp_path)!r}),
             upload.delay({str(tmp_path / "a.txt")!r}, {str(tmp_path / "c.txt")!r}, blocksize=2)):
    print(sent.id, sent.get(timeout=20))
"""

    ids, results = zip(*(line.split() for line in lines_of(shop, sent)), strict=True)

    assert results == ("7", "4", "None")
    assert (tmp_path / "c.txt").read_text() == "one\ntwo\n"
    for each in ids:
        assert "success 1.0" in shop("watching.py", each)


def test_failed_tasks_are_listed_and_retried(shop):
    fail = """
from framework.tasks.send_mails import send_mail
print(send_mail.delay("no address").id)
"""
    task_id = shop("-c", fail).strip()
    look = f"""
from framework.celery.celery import celery
from framework.failures import Failures
print([task.id for task in Failures(celery).page()] == [{task_id!r}])
"""

    assert eventually(lambda: shop("-c", look) == "True\n")
    assert shop("failed.py") == ""  # no failure had "timeout" as its reason


@pytest.mark.parametrize(("name", "entries"), [("schedule", 2), ("zones", 3)])
def test_entries_are_scheduled_listed_and_paused(tmp_path, name, entries):
    folder = shutil.copytree(EXAMPLES / "howto", tmp_path / "shop")
    text = (EXAMPLES / f"settings/{name}.py").read_text()
    (folder / "celeryconfig.py").write_text(f"{text}\nimports = ['shop.tasks.orders']\n")
    command = [sys.executable, "-m", "framework", "up", "--", sys.executable, "schedules.py"]

    done = subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert f"{entries} entries in the schedule" in done.stderr
    assert done.stdout.count("datetime.datetime(") == 3


@pytest.mark.parametrize("file", SETTINGS, ids=[path.stem for path in SETTINGS])
def test_a_configuration_is_accepted(file):
    found = runpy.run_path(str(file))

    assert settings_from(found, place=file.name)


def eventually(condition, seconds=20):
    """Return whether a condition holds within some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.2)
    return False
