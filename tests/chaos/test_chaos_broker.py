"""The broker is killed, restarted or out of memory; its queue is deleted or full."""

import time

from harness.profiles import EVERYWHERE, ON_A_SERVER, on
from harness.rig import FULL, PUBLISH_TIMEOUT, QUIET, by_number, scaled, wait_until
from kombu import Connection

ALARMS = "rabbit_alarm:get_alarms()."


@on(ON_A_SERVER, short=["rabbitmq"])
def test_the_broker_is_killed_while_a_publisher_runs_without_a_pause(rig):
    count = scaled(6000, 1200)
    publisher = rig.publisher("work", count, pause_after=1).wait_for_pause()
    # RabbitMQ 3.10 writes a new quorum queue to disk within 1.5 s; killed before that, it loses the queue's messages.
    time.sleep(4)
    publisher.resume()
    publisher.wait_for_calls(count // 3)

    rig.node.kill()
    time.sleep(3 if FULL else 1)
    rig.node.start()

    calls = publisher.wait()
    rig.worker()
    rig.report("broker kill -9, unpaced publisher", f"{count}", rig.wait_for_results(calls))


@on(ON_A_SERVER, short=["rabbitmq"])
def test_the_broker_is_restarted_while_publisher_and_worker_run(rig):
    count = scaled(500, 100)
    rig.worker()
    publisher = rig.publisher("work", count, 0.05, rate=50).wait_for_calls(count // 4)

    began = time.monotonic()
    rig.node.stop()
    time.sleep(1)
    rig.node.start()
    away = time.monotonic() - began

    figures = rig.wait_for_results(publisher.wait(), quiet=max(20, QUIET))
    # On a machine that is too busy, a broker takes longer to come back than calls wait.
    is_back_in_time = away < PUBLISH_TIMEOUT - 1
    at_most = 0 if is_back_in_time else count
    rig.report(
        "broker stopped and started", f"{count}, 50/s", figures, f"away for {away:.1f} s", raised_at_most=at_most
    )
    if rig.ours and is_back_in_time:
        assert figures.slowest < PUBLISH_TIMEOUT + 1


@on(ON_A_SERVER, short=["rabbitmq"])
def test_the_queue_is_deleted_while_a_publisher_runs(rig):
    count = scaled(100, 50)
    publisher = rig.publisher("work", count + 1, pause_after=1).wait_for_pause()

    with Connection(rig.url) as connection:
        connection.channel().queue_delete("celery")
    publisher.resume()

    calls = publisher.wait()[1:]  # the first was in the queue that was deleted
    rig.worker()
    rig.report("queue deleted", f"{count}", rig.wait_for_results(calls), raised_at_most=1)


@on(ON_A_SERVER)
def test_the_queue_is_full(rig):
    count, capacity = 60, 50
    publisher = rig.publisher("work", count, pause_after=1).wait_for_pause()

    vhost = rig.url.rsplit("/", 1)[1]
    rig.node.ctl("set_policy", "-p", vhost, "full", "^celery$", f'{{"max-length":{capacity}}}', "--apply-to", "queues")
    publisher.resume()

    calls = publisher.wait(400)
    rig.node.ctl("clear_policy", "-p", vhost, "full")
    rig.worker()
    figures = rig.wait_for_results(calls)
    rig.report(f"queue full at {capacity}", f"{count}", figures, raised_at_most=count - capacity)
    if rig.ours:
        assert figures.raised > 0


@on(ON_A_SERVER)
def test_the_broker_has_no_memory_left_and_blocks_publishers(rig):
    count = 3 if FULL else 1
    publisher = rig.publisher("work", count + 1, pause_after=1).wait_for_pause()

    rig.node.ctl("set_vm_memory_high_watermark", "0.00001")
    try:
        wait_until(lambda: "resource_limit" in rig.node.ctl("eval", ALARMS), 30, "the memory alarm")
        publisher.resume()
        calls = publisher.wait(60 * count)
    finally:
        rig.node.ctl("set_vm_memory_high_watermark", "0.4")

    hung = sum(call.ok is None for call in calls)
    rig.worker()
    figures = rig.wait_for_results(calls)
    rig.report("memory alarm", f"{count}", figures, f"{hung} never returned" if hung else "", raised_at_most=count)
    if rig.ours:
        assert hung == 0
        assert figures.slowest < 60


@on(EVERYWHERE, short=["rabbitmq"])
def test_delayed_tasks_survive_a_killed_broker_and_worker(rig):
    count, delay = scaled(200, 40), 12 if FULL else 8
    worker = rig.worker()
    calls = rig.publish("work", count, countdown=delay)
    due = {call.number: call.at + delay for call in calls}

    time.sleep(2)
    worker.kill()
    down = time.time()
    if rig.node:
        rig.node.kill()
        rig.node.start()
    rig.revive()
    rig.workers[0].wait_until_ready()
    down = time.time() - down

    figures = rig.wait_for_results(calls, quiet=max(delay + 15, QUIET))
    first = {number: times[0] for number, times in by_number(rig.noted("started")).items()}
    early = [number for number, at in first.items() if at < due[number] - 1]
    late = max((at - due[number] for number, at in first.items()), default=0.0)
    rig.report(
        f"countdown {delay} s, broker and worker kill -9",
        f"{count}",
        figures,
        f"{len(early)} early, latest {late:.1f} s late",
    )
    if rig.ours:
        assert not early
        assert late < down + (5 if FULL else 60)


@on(EVERYWHERE)
def test_countdown_before_any_worker_was_ever_started(rig):
    count = 20
    calls = rig.publish("work", count, countdown=3)

    rig.worker()

    rig.report("countdown before the first worker", f"{count}", rig.wait_for_results(calls))


@on(EVERYWHERE)
def test_a_task_without_a_delay_does_not_wait_behind_delayed_ones(rig):
    rig.worker(concurrency=2)
    calls = rig.publish("work", 40, countdown=15)
    undelayed = rig.publish("work", 10)

    def completed():
        return set(rig.numbers("done")) & {call.number for call in undelayed}

    wait_until(lambda: len(completed()) == 10, 60)
    waited = max(at for number, at in first_times(rig).items() if number >= 1_000_000) - undelayed[0].at
    figures = rig.wait_for_results(calls + undelayed, quiet=25)
    rig.report("10 at once behind 40 with countdown 15 s", "50", figures, f"the last of the 10 after {waited:.1f} s")
    if rig.ours:
        assert waited < 5


def first_times(rig):
    return {number: times[0] for number, times in by_number(rig.noted("started")).items()}
