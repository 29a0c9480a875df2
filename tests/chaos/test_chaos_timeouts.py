"""The broker's consumer timeout, and results without a receiver."""

import time
from contextlib import contextmanager

from harness.profiles import EVERYWHERE, ON_A_SERVER, on


@contextmanager
def consumer_timeout(node, seconds):
    """Set the seconds after which RabbitMQ closes a channel with an unacknowledged message (default: 30 minutes)."""
    set_both = (
        "application:set_env(rabbit, consumer_timeout, {}), application:set_env(rabbit, channel_tick_interval, {})."
    )
    node.ctl("eval", set_both.format(seconds * 1000, 2000))
    try:
        yield
    finally:
        node.ctl("eval", set_both.format(1_800_000, 60_000))


@on(ON_A_SERVER)
def test_tasks_that_wait_in_a_worker_survive_the_consumer_timeout(rig):
    with consumer_timeout(rig.node, 12):
        worker = rig.worker(concurrency=1)
        delayed = rig.publish("work", 4, countdown=25)
        calls = rig.publish("work", 8, 4.0)
        figures = rig.wait_for_results(calls + delayed, quiet=25, seconds=120, tick=rig.revive)
    died = "worker died" if worker not in rig.workers else "worker lived"
    rig.report("consumer_timeout 12 s: prefetched and delayed", "8 x 4 s + 4 delayed 25 s", figures, died)
    if rig.ours:
        assert worker in rig.workers
        assert figures.duplicated == 0


@on(ON_A_SERVER)
def test_a_task_longer_than_the_consumer_timeout_ends_no_worker(rig):
    with consumer_timeout(rig.node, 12):
        worker = rig.worker(concurrency=2)
        calls = rig.publish("work", 2, 20.0) + rig.publish("work", 10, 0.1)
        figures = rig.wait_for_results(calls, quiet=30, seconds=150, tick=rig.revive)
    died = "worker died" if worker not in rig.workers else "worker lived"
    rig.report("consumer_timeout 12 s: longer task", "2 x 20 s + 10", figures, died)
    if rig.ours:
        assert worker in rig.workers


@on(EVERYWHERE)
def test_the_caller_of_the_results_has_exited(rig):
    rig.configure(result_backend="rpc://")
    publisher = rig.publisher("work", 10, 0.05)
    calls = publisher.wait()  # its process ends, and its queue of results with it
    began = time.time()
    rig.worker(concurrency=1)

    figures = rig.wait_for_results(calls)
    took = max((float(at) for _, at in rig.noted("done")), default=began) - began
    rig.report("result backend: caller gone", "10", figures, f"all done in {took:.1f} s")
