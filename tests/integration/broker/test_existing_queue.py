"""A queue that exists with other arguments: callers and workers name them at once, and the fix."""

import time

import pytest
from kombu import Connection, Queue

from framework.celery.app import App
from framework.errors import QueueMismatch

WAIT = 80
#: The declaration that keeps a queue of plain Celery as it is.
KEEPING = (
    "Queue('celery', queue_arguments={'x-queue-type': 'classic', 'x-dead-letter-exchange': None, 'x-overflow': None})"
)


@pytest.fixture
def plain_celery(broker_url, app):
    """Declare the queue as plain Celery does; `app` has registered the embedded broker's URL."""
    with Connection(broker_url) as connection:
        Queue("celery")(connection.default_channel).declare()


@pytest.fixture
def caller(broker_url):
    """Return a function that makes an application with given task queues."""
    made = []

    def make(queues):
        made.append(App("keeper", set_as_current=False, broker=broker_url, backend="rpc://"))
        made[-1].conf.update(task_remote_names=["probe.*"], task_queues=queues)
        return made[-1]

    yield make
    for app in made:
        consumer = getattr(app.backend, "result_consumer", None)
        if getattr(consumer, "_connection", None):
            consumer.stop()
        app.close()


def other_arguments_are_named(text):
    line = text.replace("\n", " ")
    return all(
        words in line
        for words in (
            "The queue 'celery' of the broker ",
            "x-queue-type is 'classic' there and 'quorum' here",
            "x-dead-letter-exchange is not set there and 'celery.failed' here",
            "x-overflow is not set there and 'reject-publish' here",
            "`framework doctor --migrate celery`",
            f"task_queues = [{KEEPING}]",
        )
    )


@pytest.mark.parametrize("options", [{}, {"countdown": 5}])
@pytest.mark.usefixtures("plain_celery")
def test_a_call_raises_at_once_naming_the_arguments_and_the_fix(app, call, options):
    app.conf.task_publish_timeout = 90.0
    began = time.monotonic()

    with pytest.raises(QueueMismatch) as refused:
        call("add", 1, 1).apply_async(**options)

    assert time.monotonic() - began < 45  # it does not try again until the timeout
    assert other_arguments_are_named(refused.value.message)
    assert "guest:guest" not in refused.value.message


@pytest.mark.usefixtures("plain_celery")
def test_a_worker_ends_at_once_with_one_line(start_worker):
    worker = start_worker(wait=False)
    status = worker.process.wait(WAIT)
    worker.kill()

    lines = [line for line in worker.lines if "The queue 'celery'" in line]
    assert len(lines) == 1
    assert other_arguments_are_named(lines[0])
    assert "Traceback" not in worker.output
    assert status == 1


@pytest.mark.usefixtures("plain_celery")
def test_the_declaration_in_the_message_keeps_the_queue_unchanged(start_worker, project, caller):
    with (project / "celeryconfig.py").open("a") as config:
        config.write(f"from kombu import Queue\ntask_queues = [{KEEPING}]\n")
    app = caller([eval(KEEPING)])
    start_worker()

    assert app.send_task("probe.tasks.any-name.add", (1, 1)).get(WAIT) == 2


def test_a_quorum_queue_without_dead_letters_can_stay_as_it_is(app, caller, broker_url):
    bare = {"x-queue-type": "quorum"}
    with Connection(broker_url) as connection:
        Queue("celery", queue_arguments=bare)(connection.default_channel).declare()
    with pytest.raises(QueueMismatch) as refused:
        app.send_task("probe.any")
    declaration = refused.value.message.partition("task_queues = ")[2].removesuffix(" in celeryconfig.py.").rstrip(".")

    keeping = caller(eval(declaration))

    assert keeping.send_task("probe.any", ignore_result=True).id


def test_an_exchange_of_another_type_is_named(app, broker_url):
    with Connection(broker_url) as connection:
        connection.channel().exchange_declare("celery.failed", "direct", durable=True, auto_delete=False)

    with pytest.raises(QueueMismatch, match=r"exchange 'celery\.failed'.*type is 'direct' there and 'fanout' here"):
        app.send_task("probe.any")


def test_a_queue_with_priorities_is_no_quorum_queue(app, start_worker, project, broker_url):
    with (project / "celeryconfig.py").open("a") as config:
        config.write("from kombu import Queue\ntask_queues = [Queue('celery', max_priority=5)]\n")
    app.conf.task_queues = [Queue("celery", max_priority=5)]

    sent = app.send_task("probe.tasks.any-name.add", (1, 1), priority=3)
    start_worker()

    assert sent.get(WAIT) == 2


def test_another_error_is_no_mismatch(app):
    app.conf.task_queues = [Queue("celery", queue_arguments={"x-message-ttl": -1})]

    with pytest.raises(Exception, match="x-message-ttl") as refused:
        app.send_task("probe.any")

    assert not isinstance(refused.value, QueueMismatch)
