"""A consumer that RabbitMQ cancels: from 4.3 on, when a task runs for longer than its consumer timeout."""

from contextlib import suppress

import pytest
from amqp import Connection
from kombu import Queue

from framework.schedule.leader import Leadership
from framework.schedule.leader_connection import LeadershipLost

BRIEF = {"x-consumer-timeout": 1000}
SETTINGS = f"""
from kombu import Queue
task_queues = [Queue("celery"), Queue("brief", queue_arguments={BRIEF})]
"""
SLOW_AT_FIRST = '''
@celery.task
def slow_at_first(once, seconds):
    """Run longer than the queue allows, but only the first time."""
    note("slow", os.getpid())
    if not (HERE / once).exists():
        (HERE / once).touch()
        time.sleep(seconds)
'''


@pytest.fixture
def broker(rabbitmq):
    """RabbitMQ alone."""
    return "rabbitmq"


@pytest.fixture
def server_cancels(rabbitmq):
    """Skip where the server does not cancel consumers."""
    with Connection(f"127.0.0.1:{rabbitmq.port}") as connection:
        version = connection.server_properties["version"]
    if tuple(map(int, version.split(".")[:2])) < (4, 3):
        pytest.skip(f"RabbitMQ {version} closes the channel instead")


@pytest.fixture
def project(project):
    with (project / "celeryconfig.py").open("a") as file:
        file.write(SETTINGS)
    with (project / "probe/tasks/any-name.py").open("a") as file:
        file.write(SLOW_AT_FIRST)
    return project


@pytest.fixture
def app(app):
    app.conf.task_queues = [Queue("celery"), Queue("brief", queue_arguments=BRIEF)]
    return app


def test_a_queue_that_was_deleted_is_consumed_again_on_the_same_channel(app):
    """G: the server cancels a deleted queue's consumer too, which was taken for a lost connection."""
    received = []
    with (
        app.connection_for_read() as connection,
        app.amqp.TaskConsumer(connection.channel(), [app.amqp.queues["celery"]]) as consumer,
    ):
        consumer.on_message = received.append
        consumer.queues[0].delete()
        with suppress(TimeoutError):
            connection.drain_events(timeout=1)

        app.send_task("probe.tasks.any-name.add", (1, 2), task_id="after")

        while not received:
            connection.drain_events(timeout=30)
    assert [message.headers["id"] for message in received] == ["after"]


def test_a_queue_that_was_deleted_and_is_consumed_again_receives_its_delayed_tasks(app):
    received = []
    with (
        app.connection_for_read() as connection,
        app.amqp.TaskConsumer(connection.channel(), [app.amqp.queues["celery"]]) as consumer,
    ):
        consumer.on_message = received.append
        app.send_task("probe.tasks.any-name.add", (1, 2), countdown=3600)  # its caller has bound the queue
        consumer.queues[0].delete()
        with suppress(TimeoutError):
            connection.drain_events(timeout=1)

        app.send_task("probe.tasks.any-name.add", (1, 2), task_id="after", countdown=0.3)

        while not received:
            connection.drain_events(timeout=30)
    assert [message.headers["id"] for message in received] == ["after"]


@pytest.mark.usefixtures("server_cancels")
def test_a_cancelled_consumer_costs_no_other_task_its_delivery(start_worker, call, noted, eventually):
    """G: a task runs for too long, the server cancels its consumer, and the tasks beside it were run a second time."""
    worker = start_worker("-c3")

    # given a task of one queue, and in another queue a task that runs for longer than it may
    call("work", "beside", seconds=5).apply_async(queue="celery")
    eventually(lambda: noted("started") == ["beside"])
    call("slow_at_first", "once", 3).apply_async(queue="brief")

    # when the server cancels the second one's consumer
    eventually(lambda: len(noted("slow")) >= 2)

    # then the task beside it runs once, to its end
    eventually(lambda: "beside" in noted("done"))
    # and the worker consumes both queues as before
    for queue in ("celery", "brief"):
        call("write", queue).apply_async(queue=queue)
    eventually(lambda: sorted(noted("written")) == ["brief", "celery"])
    assert noted("started") == ["beside"]
    assert "Connection to broker lost" not in worker.output


@pytest.mark.usefixtures("server_cancels")
def test_the_schedule_has_a_leader_again_after_the_consumers_of_all_schedulers_timed_out(rabbitmq, app, eventually):
    """G: a queue with a single active consumer stops for good once all its consumers have timed out.

    https://github.com/rabbitmq/rabbitmq-server/issues/17317: only another connection starts it again.
    """
    vhost = app.conf.broker_url.rpartition("/")[2]
    rabbitmq.ctl("set_policy", "--vhost", vhost, "brief", "schedule", '{"consumer-timeout": 1000}')
    schedulers = [Leadership(app, {}) for _ in range(2)]
    losses, leaders = 0, 0

    def run():
        nonlocal losses, leaders
        for place, scheduler in enumerate(schedulers):
            led = scheduler.leads_since
            try:
                scheduler.work(0.05)
            except LeadershipLost:
                losses += 1
                scheduler.abandon()
                schedulers[place] = Leadership(app, {})
            else:
                leaders += scheduler.leads_since != led
        return losses >= 3 and leaders >= 4

    try:
        eventually(run)
    finally:
        for scheduler in schedulers:
            scheduler.abandon()
