import pytest
from shop.tasks.orders import ship

from framework.celery.celery import celery

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture
def eager(monkeypatch):
    monkeypatch.setitem(celery.conf, "task_always_eager", True)


def test_a_call_runs_at_once_and_here():
    assert ship.delay(7).successful()


def test_an_error_is_in_the_result():
    assert ship.delay(-1).failed()
