"""Retries run on time, and delayed tasks take no memory of the worker."""

import time
from dataclasses import replace
from itertools import pairwise

from harness.figures import figures_of
from harness.profiles import EVERYWHERE, OURS, on
from harness.rig import FULL, by_number, scaled, wait_until

LADDER = [4, 8, 16, 32, 64] if FULL else [1, 2, 4]


@on(OURS)
def test_retries_run_after_their_delays(rig):
    count = scaled(20, 8)
    rig.worker()

    calls = rig.publish("ladder", count, LADDER)

    figures = rig.wait_for_results(calls, quiet=max(LADDER) + 15, seconds=sum(LADDER) + 60)
    tries = by_number(rig.noted("tries"))
    gaps = [[b - a for a, b in pairwise(times)] for times in tries.values()]
    off = max((abs(gap - wait) for line in gaps for gap, wait in zip(line, LADDER, strict=False)), default=0.0)
    rig.report(f"retries after {LADDER} s", f"{count}", figures, f"{len(LADDER) + 1} tries, at most {off:.2f} s off")
    assert {len(times) for times in tries.values()} == {len(LADDER) + 1}
    assert off < 2


@on(EVERYWHERE)
def test_delayed_tasks_are_not_in_the_workers_memory(rig):
    count = scaled(10_000, 2000)
    worker = rig.worker(concurrency=1)
    rig.publish("work", 20)
    wait_until(lambda: len(rig.noted("done")) == 20, 60)
    idle = worker.memory()

    calls = rig.publish("work", count, countdown=3600)
    time.sleep(5)

    grown = (worker.memory() - idle) / 1e6
    all_calls = figures_of(calls, [], [], {call.number for call in calls})  # none is due
    figures = replace(all_calls, registered=0)
    rig.report("waiting on countdown", f"{count}", figures, f"worker's memory +{grown:.1f} MB")
    if rig.ours:
        assert grown < 5
