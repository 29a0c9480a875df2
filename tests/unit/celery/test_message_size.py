"""A task whose message is larger than workers take is refused when it is called, on both brokers."""

import pytest
from amqp.exceptions import NotFound
from celery import signals
from kombu import Connection, pools

from framework.celery.app import App
from framework.errors import TaskTooLarge

LIMIT = 1000


@pytest.fixture
def app(broker_url):
    app = App("shop", set_as_current=False, broker=broker_url, backend="disabled")
    app.conf.update(task_remote_names=["*"], task_message_max_bytes=LIMIT)
    yield app
    pools.reset()
    app.close()


def queued(url):
    with Connection(url) as connection, connection.channel() as channel:
        try:
            return channel.queue_declare("celery", passive=True).message_count
        except NotFound:
            return 0


@pytest.mark.parametrize("options", [{}, {"countdown": 60}, {"compression": "gzip"}, {"serializer": "yaml"}])
def test_b7_a_task_above_the_limit_is_refused_at_the_call(app, broker_url, options):
    with pytest.raises(TaskTooLarge) as refused:
        app.send_task("shop.any", ("x" * LIMIT,), **options)

    assert "shop.any has 1,0" in refused.value.message
    assert "task_message_max_bytes is 1,000. Nothing was queued." in refused.value.message
    assert queued(broker_url) == 0


def test_b7_a_task_within_the_limit_is_queued_as_it_was(app, broker_url):
    app.send_task("shop.any", ("ñ" * 100,))

    with Connection(broker_url) as connection:
        message = connection.default_channel.basic_get("celery")
    assert (message.properties["content_type"], message.properties["content_encoding"]) == ("application/json", "utf-8")


def test_b7_the_signal_before_a_publish_has_the_arguments_and_not_their_bytes(app):
    bodies = []

    def remember(body, **_):
        bodies.append(body)

    signals.before_task_publish.connect(remember)
    try:
        app.send_task("shop.any", (1,))
    finally:
        signals.before_task_publish.disconnect(remember)

    assert bodies[0][0] == (1,)
