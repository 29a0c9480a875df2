"""Invalid messages: the worker survives, and each message is run or among the failed tasks."""

import time

from harness.figures import Figures
from harness.messages import bad_messages, fuzzed
from harness.profiles import EVERYWHERE, OURS, on
from harness.rig import scaled, wait_until
from kombu import Connection


def publish_raw(rig, messages):
    """Publish messages unchanged to the queue of a running worker."""
    with Connection(rig.url, transport_options={"confirm_publish": True}) as connection:
        producer = connection.Producer()
        for message in messages:
            producer.publish(message.body, routing_key="celery", headers=message.headers, **message.properties)


def processed(rig):
    """Return the labels of the messages that ran, and of those in the failed-task queue."""
    ran = [line[0] for line in rig.noted("labels")]
    return ran, [entry.get("x_label") for entry in rig.registry()]


def report(rig, fault, messages, deaths, slowest=0.0):
    ran, registered = processed(rig)
    labels = {message.label for message in messages}
    gone = sorted(labels - set(ran) - set(registered))
    figures = Figures(
        len(gone), len(ran) - len(set(ran)), 0, slowest, registered=len(labels & set(registered)), missing=gone
    )
    rig.report(fault, f"{len(labels)}", figures, f"worker died {deaths}x, {len(set(ran))} ran")


@on(EVERYWHERE, short=OURS)
def test_each_bad_message_leaves_the_worker_alive(rig):
    worker = rig.worker(concurrency=1)
    messages = list(bad_messages())
    if rig.ours:
        publish_raw(rig, messages)
        pid = worker.process.pid
        wait_until_all_are_processed(rig, messages)
        assert worker.alive
        assert worker.process.pid == pid
        deaths = 0
    else:
        deaths = sum(kills_worker(rig, message) for message in messages)
    report(rig, "bad messages, each kind", messages, deaths)


def kills_worker(rig, message):
    """Return whether plain Celery's worker ends with this message; if so, purge it for the next worker."""
    publish_raw(rig, [message])
    time.sleep(0.7)
    if not rig.workers[0].alive:
        with Connection(rig.url) as connection:
            connection.channel().queue_purge("celery")
    died = rig.revive()
    if died:
        rig.workers[0].wait_until_ready()
    return died


def wait_until_all_are_processed(rig, messages):
    labels = {message.label for message in messages}
    end = time.monotonic() + 180
    while time.monotonic() < end and rig.workers[0].alive:
        ran, registered = processed(rig)
        if labels <= set(ran) | set(registered):
            return
        time.sleep(1)


@on(OURS, short=["rabbitmq"])
def test_no_fuzzed_message_ends_the_worker_or_vanishes(rig):
    messages = list(fuzzed(scaled(2000, 200), seed=20))
    worker = rig.worker(concurrency=2)
    pid = worker.process.pid

    publish_raw(rig, messages)
    wait_until(lambda: rig.waiting() == 0 or not worker.alive, 180)
    wait_until_all_are_processed(rig, messages)

    report(rig, "fuzzed messages", messages, 0 if worker.alive else 1)
    assert worker.alive
    assert worker.process.pid == pid
