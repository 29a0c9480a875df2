"""Limits that the broker cannot count: the node of the cluster that has their tokens is down, or the broker is."""

import time

import pytest
from celery.utils.log import get_logger
from kombu import Queue, pools

from framework.celery.app import App
from framework.errors import BadLimit, LimitUnavailable
from framework.limits import Limit
from framework.testing.rabbitmq_cluster import Cluster
from framework.testing.rabbitmq_releases import is_installed


@pytest.fixture
def app_at():
    """Return a function that makes an application of a broker."""
    apps = []

    def make(url):
        apps.append(App("shop", set_as_current=False, broker=url, backend="disabled://"))
        # A classic queue is on one node, so the other one may be down.
        apps[-1].conf.update(
            task_queues=[Queue("here", queue_arguments={"x-queue-type": "classic"})], task_default_queue="here"
        )
        return apps[-1]

    yield make
    pools.reset()
    for app in apps:
        app.close()


@pytest.fixture
def warnings(monkeypatch):
    """The warnings that limits log."""
    logged = []
    log = get_logger("framework.limits.window")
    monkeypatch.setattr(log, "warning", lambda text, *args: logged.append(text % args))
    return logged


def visits(app, on_unavailable, over="reject"):
    """Return a task whose calls are limited."""
    limit = Limit("5/m", name=f"visits.{over}", over=over, on_unavailable=on_unavailable)
    return app.task(name=f"{on_unavailable}.{over}", limit=limit)(visit)


def visit(): ...


@pytest.mark.skipif(not is_installed(), reason="RabbitMQ is not installed")
@pytest.mark.timeout(240)
def test_a_call_is_refused_or_passes_as_its_limit_says_while_the_node_that_counts_it_is_down(app_at, warnings):
    with Cluster(size=2) as cluster:
        counting, living = cluster.nodes
        before, app = app_at(counting.url), app_at(living.url)
        # Given limits whose tokens are on the first node, and a task queue on the second
        app.task(name="unlimited")(visit).delay()
        for over in ("reject", "delay"):
            visits(before, "refuse", over).delay()

        # When the first node is killed
        counting.kill()

        # Then calls are refused, or pass with a warning, soon enough
        for over in ("reject", "delay"):
            began = time.monotonic()
            with pytest.raises(LimitUnavailable, match=rf"The limit visits.{over} of 5/m cannot be counted.*home node"):
                visits(app, "refuse", over).delay()
            visits(app, "allow", over).delay()
            assert time.monotonic() - began < 2 * app.conf.task_publish_timeout
        assert [warning.split(".")[0] for warning in warnings] == ["A call passes without being counted"] * 2
        with app.connection_for_read() as connection:
            assert connection.default_channel.queue_declare("here", passive=True).message_count == 5


def test_a_view_passes_or_refuses_as_its_limit_says_while_the_broker_is_away(app_at, warnings):
    app = app_at("amqp://guest:guest@127.0.0.1:1//")
    app.conf.task_publish_timeout = 0.5
    refused = Limit("1/s", name="contact", app=app)
    passes = Limit("1/s", name="contact", app=app, on_unavailable="allow")

    for count in (refused.take, refused.allows, refused.retry_after):
        with pytest.raises(
            LimitUnavailable, match=r"contact of 1/s cannot be counted.*refused.*on_unavailable='allow'"
        ):
            count("Ann")
    passes.take("Ann")

    assert passes.allows("Ann")
    assert passes.retry_after("Ann") == 0.0
    assert len(warnings) == 3


def test_a_call_that_passed_uncounted_gives_nothing_back_when_it_is_not_queued(app_at, warnings):
    app = app_at("amqp://guest:guest@127.0.0.1:1//")
    app.conf.task_publish_timeout = 0.5

    with pytest.raises(Exception, match="cannot be used"):
        visits(app, "allow").delay()

    assert len(warnings) == 1


def test_another_policy_is_refused_where_it_is_written():
    with pytest.raises(BadLimit, match="on_unavailable is 'deny'"):
        Limit("1/s", on_unavailable="deny")
