"""What a run of a task publishes, and what it must not publish any more."""

import threading
import time
from types import SimpleNamespace

import pytest

from framework.celery.app import App
from framework.progress import last_state
from framework.progress import run as run_module
from framework.progress.publisher import publisher_for
from framework.progress.run import Run


@pytest.fixture
def app(broker_url):
    app = App("runs", set_as_current=False, broker=broker_url)
    yield app
    app.close()


@pytest.fixture
def run(app):
    return Run(app, SimpleNamespace(id="task", retries=0, delivery_info={}), "shop.report")


def test_a_run_that_was_started_is_published(app, run, monkeypatch):
    monkeypatch.setattr(run_module, "END_TIMEOUT_SECONDS", 60.0)
    run.start()
    run.stop()

    assert last_state("task", app=app).status == "started"


def test_a_run_that_is_stopped_before_its_start_was_published_publishes_nothing(app, run):
    busy = threading.Event()
    publisher_for(app).publish(lambda _states: busy.wait(100), retry=False)
    run.start()

    stopping = threading.Thread(target=run.stop)
    stopping.start()
    deadline = time.monotonic() + 60
    while not run.stopped and time.monotonic() < deadline:
        time.sleep(0.001)
    busy.set()
    stopping.join(60)

    assert run.stopped
    assert last_state("task", app=app) is None
