"""A solo worker, whose task blocks its event loop, sends heartbeats meanwhile, and frees its task when it is killed."""

import threading

import pytest
from kombu import Connection

from framework.celery.heartbeats import Heartbeats

HEARTBEAT_SECONDS = 3
#: RabbitMQ closes a connection after two to three heartbeats were missed.
LONG = 4 * HEARTBEAT_SECONDS


@pytest.fixture
def project(project):
    with (project / "celeryconfig.py").open("a") as settings:
        settings.write(f"broker_heartbeat = {HEARTBEAT_SECONDS}\n")
    return project


on_rabbitmq = pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)


@on_rabbitmq
def test_a_task_longer_than_the_heartbeat_timeout_runs_once(start_worker, call, noted):
    """A4"""
    worker = start_worker("-P", "solo")

    long = call("work", "long", seconds=LONG).apply_async()
    after = call("work", "after").apply_async()

    assert long.get(timeout=90) == "long"
    assert after.get(timeout=90) == "after"
    assert noted("started") == ["long", "after"]
    assert "connection to broker lost" not in worker.output.lower()


def test_a_task_of_a_killed_worker_runs_at_once_elsewhere(start_worker, call, noted, eventually):
    """A4"""
    first = start_worker("-P", "solo")
    call("work", "long", seconds=LONG).apply_async()
    eventually(lambda: noted("started") == ["long"])
    second = start_worker("-P", "solo")

    first.kill()

    eventually(lambda: noted("started") == ["long", "long"], seconds=LONG)
    assert second.process.poll() is None


@on_rabbitmq
def test_heartbeats_are_sent_while_a_task_runs_by_a_thread_that_ends_when_there_are_no_more(broker_url, eventually):
    """A4"""
    with Connection(broker_url, heartbeat=1) as connection:
        amqp = connection.connection
        before = amqp.bytes_sent
        heartbeats = Heartbeats(lambda: [connection, None], 10)

        heartbeats.during(lambda: eventually(lambda: amqp.bytes_sent >= before + 6))()

        assert amqp.last_heartbeat_received
        eventually(lambda: "heartbeats" not in [thread.name for thread in threading.enumerate()])


@on_rabbitmq
def test_heartbeats_do_not_open_a_closed_connection(broker_url):
    """A4"""
    with Connection(broker_url, heartbeat=1) as connection:
        assert connection.connection
        connection.close()

        Heartbeats(lambda: [connection], 0.1).during(threading.Event().wait)(0.3)

        assert not connection.connected
