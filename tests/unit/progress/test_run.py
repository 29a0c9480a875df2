"""What a run of a task publishes, and what it must not publish any more."""

import threading
import time
from queue import SimpleQueue
from types import SimpleNamespace

import pytest

from framework.celery.app import App
from framework.progress import Step, Watcher, last_state, store
from framework.progress import run as run_module
from framework.progress.publisher import close_publisher, publisher_for
from framework.progress.run import Run
from framework.progress.steps import FinishedStep, Steps

WAIT = 60


@pytest.fixture
def app(broker_url):
    app = App("runs", set_as_current=False, broker=broker_url)
    yield app
    close_publisher(app)
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


class UnreadableSteps:
    """A step whose iterable raises when the publisher counts it."""

    def step(self, now):
        raise RuntimeError("no length")


def test_a_step_that_cannot_be_read_ends_neither_the_publisher_nor_the_report_of_the_end(app, run):
    """A14."""
    other = Run(app, SimpleNamespace(id="other", retries=0, delivery_info={}), "shop.report")
    for each, step in ((run, UnreadableSteps()), (other, FinishedStep(Step("rows", 1)))):
        each.start()
        each.steps.append(step)
        each.mark_dirty()
    wait_for(lambda: (last := last_state("other", app=app)) and last.progress)

    run.end("success", result=3)

    last = last_state("task", app=app)
    assert (last.status, last.result, last.progress) == ("success", 3, None)


@pytest.mark.parametrize("body", [b"no json", b"[]", b"{}", b'{"id": "task", "number": "x"}', b"\xff"])
def test_a_stored_state_that_is_none_blocks_no_watcher_and_no_publisher(app, run, body):
    """A14."""
    run.start()
    wait_for(lambda: last_state("task", app=app))
    with app.connection_for_write() as connection:
        store.publish(connection.default_channel, "task", body)
    wait_for(lambda: last_state("task", app=app) is None)
    states = SimpleQueue()
    with Watcher(app) as watcher:
        watcher.subscribe("task", states.put)

        run.end("success")

        assert states.get(timeout=WAIT).status == "success"
    assert last_state("task", app=app).status == "success"


def test_a_job_that_raises_is_dropped_and_the_next_one_is_published(app, run):
    """A14."""
    tries = []

    def broken(_states):
        tries.append(1)
        raise ValueError("no state")

    publisher_for(app).publish(broken, retry=True)
    run.start()

    wait_for(lambda: last_state("task", app=app))
    assert len(tries) == 2


def test_the_last_state_of_a_running_task_outlives_its_expiry(app):
    """A18."""
    app.conf.task_state_expires = 2
    run = Run(app, SimpleNamespace(id="reporting", retries=0, delivery_info={}), "shop.report")
    silent = Run(app, SimpleNamespace(id="silent", retries=0, delivery_info={}), "shop.report")
    step = Steps((), "rows", 1000)
    step._run = run
    run.steps.append(step)
    run.start()
    silent.start()
    wait_for(lambda: last_state("reporting", app=app) and last_state("silent", app=app))

    # Nobody reads it meanwhile: that would restart the expiry too.
    end = time.monotonic() + 3 * app.conf.task_state_expires
    while time.monotonic() < end:
        step.advance()
        time.sleep(0.05)

    assert last_state("reporting", app=app).progress
    assert last_state("silent", app=app).status == "started"


def wait_for(condition):
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
