"""Delayed tasks whose queue was deleted or is full stop no other queue's delays and retries."""

import time

import pytest
from kombu import Queue

from framework.broker.delay_probe import overdue_queues
from framework.broker.migration import migrate
from framework.failures import Failures

#: More than RabbitMQ has in flight between two queues.
MANY = 40


@pytest.fixture
def channel(app):
    """A channel on the broker of the application."""
    with app.connection_for_write() as connection, connection.channel() as channel:
        yield channel


@pytest.fixture
def ready(channel):
    """Return a function that counts the ready messages of a queue."""
    return lambda name: channel.queue_declare(name, passive=True).message_count


def publish_delayed(app, queue, count, countdown):
    for number in range(count):
        app.send_task("probe.any", (number,), queue=queue, countdown=countdown, ignore_result=True)


@pytest.fixture
def full_queue(app, channel):
    """A task queue without room."""
    app.conf.task_queues = [Queue("celery"), Queue("full", queue_arguments={"x-max-length": 1})]
    app.amqp.queues["full"](channel).declare()
    channel.basic_publish(channel.prepare_message(b"fills it"), routing_key="full")
    return "full"


def test_a2_delayed_tasks_of_a_deleted_queue_are_failed_tasks_and_others_run_on_time(app, channel, ready, eventually):
    publish_delayed(app, "gone", MANY, countdown=1)
    channel.queue_delete("gone")
    called_at = time.monotonic()
    publish_delayed(app, "celery", 5, countdown=0.25)
    eventually(lambda: ready("celery") == 5, 30)
    publish_delayed(app, "celery", 5, countdown=1.25)

    eventually(lambda: ready("celery.failed") == MANY, 30)
    eventually(lambda: ready("celery") == 10, 30)

    assert time.monotonic() - called_at < 20
    failed = Failures(app).page(MANY)
    assert {(task.reason, task.queue) for task in failed} == {("queue-deleted", "gone")}
    assert "Its queue was deleted" in failed[0].error


def test_a2_delayed_tasks_of_a_full_queue_wait_before_it_alone(app, channel, ready, eventually, full_queue):
    publish_delayed(app, full_queue, MANY, countdown=0.25)
    publish_delayed(app, "celery", 5, countdown=1.25)

    eventually(lambda: ready("celery") == 5, 30)
    assert ready(full_queue) < MANY / 2
    assert ready("celery.failed") == 0


@pytest.mark.parametrize("broker", ["sqlite"])  # RabbitMQ waits for three minutes before it delivers them again
def test_a2_delayed_tasks_of_a_full_queue_are_delivered_once_it_accepts_messages(app, channel, eventually, full_queue):
    publish_delayed(app, full_queue, 3, countdown=0.25)
    found = []

    def taken():
        message = channel.basic_get(full_queue, no_ack=True)
        if message and "id" in (message.headers or {}):
            found.append(message)
        return len(found) == 3

    eventually(taken, 30)


def test_a2_a_queue_whose_step_queue_was_deleted_keeps_its_delayed_tasks_as_failed(app, channel, ready, eventually):
    publish_delayed(app, "celery", 2, countdown=1)
    channel.queue_delete("celery.due.celery")

    eventually(lambda: ready("celery.failed") == 2, 30)

    assert {task.queue for task in Failures(app).page()} == {"celery"}


def test_a2_a_migrated_queue_gets_the_tasks_that_were_delayed_before(app, ready, eventually):
    publish_delayed(app, "celery", 2, countdown=2)
    wider = Queue("celery", queue_arguments={**app.amqp.queues["celery"].queue_arguments, "x-delivery-limit": 9})

    with app.connection_for_write() as connection:
        migrate(connection, wider)

    eventually(lambda: ready("celery") == 2, 30)
    assert ready("celery.failed") == 0


def test_a2_a_worker_makes_a_deleted_queue_deliverable_again(app, channel, ready, eventually):
    publish_delayed(app, "celery", 2, countdown=2)
    channel.queue_delete("celery")

    app.amqp.TaskConsumer(channel)

    eventually(lambda: ready("celery") == 2, 30)


def test_a2_a_probe_passes_delays_that_hold_nothing_overdue(app, channel, ready):
    publish_delayed(app, "celery", 1, countdown=3600)

    assert overdue_queues(channel.connection.client, ["celery"], timeout=30) == []
    assert ready("celery.failed") == ready("celery.probe") == ready("celery") == 0


@pytest.mark.parametrize("broker", ["rabbitmq"])  # the embedded broker holds up no message because of another
def test_a2_a_probe_finds_the_step_queue_that_holds_overdue_tasks(app, channel, ready, eventually, full_queue):
    # RabbitMQ refuses messages only once it has noticed that a queue is full, and holds up others after about 32.
    publish_delayed(app, full_queue, 3 * MANY, countdown=0.25)
    publish_delayed(app, "celery", 1, countdown=1.25)
    eventually(lambda: ready("celery") == 1, 30)

    def overdue():
        return overdue_queues(channel.connection.client, ["celery", "full"], timeout=3)

    eventually(lambda: "celery.due.full" in overdue(), 60)  # some arrive there later than the others
