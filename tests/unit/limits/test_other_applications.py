"""Limits and unique tasks of plain Celery applications, and of eager ones."""

import warnings

import pytest
from celery import Celery, shared_task

from framework.celery.app import App
from framework.errors import FrameworkWarning, OverLimit
from framework.limits import Limit, Unique


@pytest.fixture
def plain():
    with Celery("plain", broker="memory://", set_as_current=False) as app:
        yield app


@pytest.fixture
def ours(tmp_path):
    app = App("ours", broker=f"sqlite:///{tmp_path}/broker.db", backend="disabled://", set_as_current=False)
    yield app
    app.close()


def contact(visitor): ...


@pytest.mark.parametrize("option", [{"limit": Limit("1/m", key="visitor")}, {"unique": Unique(key="visitor")}])
def test_a_task_of_plain_celery_says_that_it_ignores_its_limit(plain, option):
    [name] = option

    with pytest.warns(FrameworkWarning, match=f"The task contact has {name}=.*framework.celery.app.App"):
        plain.task(name="contact", **option)(contact).delay("Ann")


@pytest.mark.parametrize("option", [{"limit": Limit("1/m", key="visitor")}, {"unique": Unique(key="visitor")}])
def test_a_task_of_ours_and_a_class_that_is_no_task_say_nothing(ours, option):
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        ours.task(name="contact", **option)(contact).delay("Ann")
        type("View", (), option)


def test_a_shared_task_keeps_its_limit_where_our_application_calls_it(plain, ours):
    shared_task(name="contact", limit=Limit("1/m", key="visitor"))(contact)

    ours.tasks["contact"].delay("Ann")
    for call in (ours.tasks["contact"].delay, lambda visitor: ours.send_task("contact", (visitor,))):
        with pytest.raises(OverLimit):
            call("Ann")
    with pytest.warns(FrameworkWarning, match="contact has limit="):
        plain.finalize()


def test_a_task_of_plain_celery_keeps_its_limit_where_our_application_calls_it(plain, ours):
    with pytest.warns(FrameworkWarning):
        plain.task(name="contact", limit=Limit("1/m", key="visitor"))(contact).run("Ann")

    ours.send_task("contact", ("Ann",))
    with pytest.raises(OverLimit):
        ours.send_task("contact", ("Ann",))


def test_eager_calls_need_no_broker_and_count_nothing():
    app = App("eager", broker="amqp://guest:guest@127.0.0.1:1//", backend="disabled://", set_as_current=False)
    app.conf.update(task_always_eager=True, task_publish_timeout=0.5)
    ran = []

    @app.task(limit=[Limit("1/h"), Limit("1/h", over="drop"), Limit("1/h", over="delay")], unique=True)
    def count():
        ran.append("once more")

    count.delay()
    count.apply_async(task_id="one")
    count.apply_async(task_id="one")
    count.apply()

    assert len(ran) == 4
