"""Faults of workers, children, connections and the broker in one run, while a publisher runs."""

import random
import time
from contextlib import ExitStack

from harness.profiles import EVERYWHERE, on
from harness.proxy import Proxy
from harness.rig import FULL, QUIET, scaled

FAULT_INTERVAL_SECONDS = 3.5 if FULL else 2.0


class Faults:
    """The faults of a rig, planned with a seeded shuffle."""

    def __init__(self, rig, proxy):
        self.rig = rig
        self.proxy = proxy
        self.random = random.Random(4)

    def kill_worker(self):
        self.random.choice(self.rig.workers).kill()

    def stop_worker_too_fast(self):
        self.random.choice(self.rig.workers).stop(grace=1)

    def kill_child(self):
        self.random.choice(self.rig.workers).kill_child(self.random.randrange(4))

    def reset_connections(self):
        self.proxy.reset()

    def kill_broker(self):
        self.rig.node.kill()
        self.rig.node.start()

    def plan(self, count):
        kinds = [self.kill_worker, self.stop_worker_too_fast, self.kill_child, self.kill_child]
        if self.proxy:
            kinds += [self.reset_connections, self.reset_connections]
        plan = [kinds[turn % len(kinds)] for turn in range(count)]
        self.random.shuffle(plan)
        if self.proxy:
            for place in [count // 3, 2 * count // 3][: 2 if FULL else 1]:
                plan[place] = self.kill_broker
        return plan


@on(EVERYWHERE, short=["rabbitmq"])
def test_mixed_chaos(rig):
    count, faults = scaled(1500, 300), 28 if FULL else 8
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(rig.node.port)) if rig.node else None
        url = rig.through(proxy) if proxy else None
        stack.callback(rig.close)
        for _ in range(2):
            rig.worker(url=url)
        publisher = rig.publisher("work", count, 0.35, rate=count / (faults * FAULT_INTERVAL_SECONDS), url=url)

        for fault in Faults(rig, proxy).plan(faults):
            time.sleep(FAULT_INTERVAL_SECONDS)
            fault()
            rig.revive()

        figures = rig.wait_for_results(publisher.wait(), quiet=max(20, QUIET), seconds=400, tick=rig.revive)

    rig.report(f"mixed chaos, {faults} faults", f"{count} x 0.35 s", figures)
