"""A worker of several queues knows which of them a message came from, also where wildcards route it."""

from datetime import UTC, datetime, timedelta

import pytest
from kombu import Exchange, Queue

from framework.failures import Failures

EVENTS = Exchange("events", "topic")
QUEUES = [Queue("mail", EVENTS, "mail.#"), Queue("sms", EVENTS, "sms.#")]

CONFIG = """
from kombu import Exchange, Queue
_events = Exchange("events", "topic")
task_queues = [Queue("mail", _events, "mail.#"), Queue("sms", _events, "sms.#")]
task_default_queue = "mail"
"""


@pytest.fixture
def urgent(app):
    """Publish a task to the exchange, with a key that only the wildcard of `sms` matches."""
    app.conf.update(task_queues=QUEUES, task_default_queue="mail")
    with app.connection_for_write() as connection:
        for queue in app.amqp.queues.values():
            queue(connection.default_channel).declare()

    def publish(name, *args, **options):
        return app.send_task(
            f"probe.tasks.any-name.{name}", args, exchange="events", routing_key="sms.urgent", **options
        )

    return publish


@pytest.fixture
def received(app):
    """Return a function that consumes from all queues and returns the next message."""
    messages = []
    with app.connection_for_read() as connection:
        consumer = app.amqp.TaskConsumer(connection.default_channel, on_message=messages.append)
        consumer.consume()

        def next_message():
            while not messages:
                connection.drain_events(timeout=30)
            return messages.pop()

        yield next_message


def test_a12_the_source_of_a_message_is_the_queue_whose_wildcard_matched(app, urgent, request):
    urgent("add", 1, 1, ignore_result=True)

    message = request.getfixturevalue("received")()

    assert app.amqp.source_queue(message.delivery_info).name == "sms"


def test_a12_a_message_that_came_early_is_delayed_for_the_queue_it_came_from(app, urgent, request):
    urgent("add", 1, 1, ignore_result=True)
    received = request.getfixturevalue("received")
    early = received()

    app.amqp.delay_message(early, datetime.now(UTC) + timedelta(seconds=0.2))

    late = received()
    assert late.headers["id"] == early.headers["id"]
    assert late.delivery_info["routing_key"].endswith(".sms")
    assert app.amqp.source_queue(late.delivery_info).name == "sms"


def test_a12_the_retry_of_a_delayed_task_waits_for_its_own_queue(app, urgent, request):
    app.send_task("probe.any", queue="sms", countdown=0.2, ignore_result=True)
    received = request.getfixturevalue("received")
    first = received()

    route = {name: first.delivery_info[name] for name in ("exchange", "routing_key")}
    app.send_task("probe.any", countdown=0.2, retries=1, ignore_result=True, **route)

    again = received()
    assert again.headers["retries"] == 1
    assert again.headers["x-death"][-1]["queue"].startswith("celery.delay.")
    assert app.amqp.source_queue(again.delivery_info).name == "sms"


@pytest.mark.parametrize("broker", ["rabbitmq"])
def test_a12_a_worker_retries_delays_and_records_an_urgent_sms_in_its_queue(
    app, urgent, start_worker, project, noted, eventually
):
    with (project / "celeryconfig.py").open("a") as config:
        config.write(CONFIG)
    start_worker("-Q", "mail,sms")

    urgent("flaky", 1)
    urgent("write", "delayed", countdown=3)
    urgent("boom")

    eventually(lambda: len(noted("tries")) == 2 and noted("written") == ["delayed"] and Failures(app).count() == 1)
    assert Failures(app).page()[0].queue == "sms"
