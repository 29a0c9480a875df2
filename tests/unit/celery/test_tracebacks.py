"""The memory of failed and retried tasks: freed when they end, not when Python next looks for cycles."""

import gc
import logging
import weakref

import pytest
from celery import signals
from celery.app.trace import build_tracer

from framework.celery.app import App


class PaymentError(Exception):
    pass


class Unpicklable(Exception):
    def __init__(self, code):
        self.code = lambda: code


@pytest.fixture
def app():
    return App("probe", set_as_current=False, broker="memory://", backend="disabled://")


@pytest.fixture
def without_collector(caplog):
    caplog.set_level(logging.CRITICAL, "celery.app.trace")  # pytest keeps each record with its exception
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def run(app, task):
    """Run a task as a pool process does."""
    request = {"id": "some-id", "task": task.name, "delivery_info": {"routing_key": "celery"}, "is_eager": False}
    return build_tracer(task.name, task, app=app)("some-id", (), {}, request)


def raised_by(app, body, **options):
    """Run a task that raises; return a weak reference to what it raised."""
    raised = []

    @app.task(name="probe.task", bind=True, **options)
    def task(self):
        try:
            body(self)
        except Exception as exc:
            raised.append(weakref.ref(exc))
            raise

    assert run(app, task).info is not None
    return raised[0]


def fail(error):
    def body(_task):
        raise error("declined")

    return body


@pytest.mark.parametrize("error", [PaymentError, Unpicklable])
def test_the_exception_of_a_failed_task_is_freed_when_the_task_has_ended(app, without_collector, error):
    assert raised_by(app, fail(error))() is None


def test_the_exception_of_a_retried_task_is_freed_when_its_run_has_ended(app, without_collector, monkeypatch):
    monkeypatch.setattr("celery.canvas.Signature.apply_async", lambda *args, **options: None)

    def retry(task):
        raise task.retry(countdown=1)

    assert raised_by(app, retry)() is None


def test_a_task_that_is_called_in_process_keeps_the_traceback_of_its_exception(app):
    @app.task
    def task():
        raise PaymentError("declined")

    result = task.apply()

    assert result.result.__traceback__ is not None


def test_the_handlers_of_a_failed_task_have_its_traceback(app):
    seen = []

    def on_failure(self, exc, *rest):
        seen.append(exc.__traceback__)

    raised_by(app, fail(PaymentError), on_failure=on_failure)

    assert seen[0] is not None


def test_the_exception_of_a_lost_process_does_not_stay_in_its_worker(app, without_collector):
    @app.task
    def task(): ...

    lost = PaymentError("lost")
    freed = weakref.ref(lost)
    signals.task_failure.send(sender=task, task_id="some-id", exception=lost)
    del lost

    assert freed() is None
