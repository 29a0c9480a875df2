"""Classic queues, such as those with priorities: dead letters, and an end to what kills its worker."""

import pytest
from kombu import Queue

from framework.celery.amqp import Queues
from framework.celery.redelivery import COUNT, check_redelivery
from framework.celery.validation import InvalidMessage
from framework.failures import Failures

LIMIT = 2


@pytest.fixture
def channel(app):
    """A channel of a worker whose queue has priorities."""
    app.conf.update(task_queues=[Queue("p", max_priority=10)], task_default_queue="p", task_delivery_limit=LIMIT)
    with app.connection_for_read() as connection, connection.channel() as channel:
        yield channel


@pytest.fixture
def delivered(app, channel):
    """Return a function that waits for the next delivery to a worker."""
    messages = []
    consumer = app.amqp.TaskConsumer(channel, on_message=messages.append, prefetch_count=1)
    consumer.consume()

    def next_message():
        while not messages:
            channel.connection.client.drain_events(timeout=30)
        return messages.pop()

    return next_message


def test_a11_a_task_rejected_from_a_queue_with_priorities_is_a_failed_task(app, delivered, eventually):
    app.send_task("probe.any", priority=3, ignore_result=True)

    delivered().reject()

    eventually(lambda: Failures(app).count() == 1)
    assert (Failures(app).page()[0].reason, Failures(app).page()[0].queue) == ("rejected", "p")


def test_a11_a_task_that_is_redelivered_from_a_queue_with_priorities_ends_after_the_limit(app, delivered):
    app.send_task("probe.any", (1,), priority=3, ignore_result=True)
    message = delivered()

    for count in range(1, LIMIT + 1):
        message.requeue()
        message = delivered()
        assert check_redelivery(app, message)  # it was published again, with its count
        message.ack()
        message = delivered()
        assert (message.headers[COUNT], message.properties["priority"]) == (count, 3)
        assert not check_redelivery(app, message)

    message.requeue()
    with pytest.raises(InvalidMessage) as given_up:
        check_redelivery(app, delivered())
    assert (given_up.value.reason, given_up.value.attempts) == ("delivery_limit", LIMIT + 1)


@pytest.mark.parametrize("broker", ["rabbitmq"])
def test_a11_a_task_that_kills_its_process_ends_in_a_queue_with_priorities(
    app, call, start_worker, project, noted, eventually, channel
):
    with (project / "celeryconfig.py").open("a") as config:
        config.write("from kombu import Queue\ntask_queues = [Queue('p', max_priority=10)]\n")
        config.write(f"task_default_queue = 'p'\ntask_delivery_limit = {LIMIT}\n")
    tasks = project / "probe/tasks/any-name.py"
    tasks.write_text(tasks.read_text().replace("if not Path(once).exists():", "if True:"))
    worker = start_worker()

    sent = call("kill_my_child", "poison").apply_async()

    eventually(lambda: Failures(app).count() == 1)
    failed = Failures(app).get(sent.id)
    assert (failed.reason, failed.attempts, failed.queue) == ("delivery_limit", LIMIT + 1, "p")
    assert len(noted("child")) == LIMIT + 1, worker.output


def test_a11_a_retry_is_not_charged_with_the_redeliveries_before_it(app, delivered):
    app.send_task("probe.any", headers={COUNT: LIMIT}, retries=1, ignore_result=True)

    assert COUNT not in delivered().headers


def test_a11_every_durable_queue_has_dead_letters():
    queues = Queues()
    queues.arguments = {"x-queue-type": "quorum", "x-delivery-limit": 5, "x-dead-letter-exchange": "failed"}
    kinds = {
        "priorities": Queue("priorities", max_priority=10),
        "classic": Queue("classic", queue_arguments={"x-queue-type": "classic"}),
        "quorum": Queue("quorum"),
        "temporary": Queue("temporary", auto_delete=True),
        "stream": Queue("stream", queue_arguments={"x-queue-type": "stream"}),
    }
    for name, queue in kinds.items():
        queues[name] = queue

    found = {name: (queue.queue_arguments or {}).get("x-dead-letter-exchange") for name, queue in queues.items()}

    assert found == {"priorities": "failed", "classic": "failed", "quorum": "failed", "temporary": None, "stream": None}
    assert "x-delivery-limit" not in kinds["priorities"].queue_arguments
