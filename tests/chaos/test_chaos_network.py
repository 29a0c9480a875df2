"""Connections are reset, or silent without being closed."""

import time

from harness.profiles import ON_A_SERVER, on
from harness.proxy import Proxy
from harness.rig import FULL, scaled, wait_until


@on(ON_A_SERVER, short=["rabbitmq"])
def test_connections_are_reset(rig):
    count, cuts = scaled(240, 48), 4 if FULL else 2

    def is_in_the_middle_of_a_task():
        # On a busy machine the tasks may be done before the connections are cut.
        done = len(rig.noted("done"))
        return len(rig.noted("started")) > done or done >= count

    with Proxy(rig.node.port) as proxy:
        rig.worker(url=rig.through(proxy))
        calls = rig.publish("work", count, 0.5)
        for cut in range(cuts):
            share = (cut + 1) / (cuts + 2)
            wait_until(lambda share=share: len(rig.noted("done")) >= count * share, 180)
            wait_until(is_in_the_middle_of_a_task, 60)
            proxy.reset()
        figures = rig.wait_for_results(calls)
        rig.close()

    rig.report(f"TCP reset x{cuts}", f"{count} x 0.5 s", figures)


@on(ON_A_SERVER)
def test_one_of_two_workers_is_cut_off_silently(rig):
    count, dark = scaled(40, 16), 55 if FULL else 40
    with Proxy(rig.node.port) as proxy:
        rig.worker(concurrency=2, url=rig.through(proxy))
        rig.worker(concurrency=2)

        # messages to the first worker do not arrive from now on
        proxy.silence()
        cut = time.time()
        calls = rig.publish("work", count, 1.0)
        rig.wait_for_results(calls, quiet=dark, seconds=dark)
        in_time = len(set(rig.numbers("done")))
        last = max((float(at) for _, at in rig.noted("done")), default=cut) - cut
        time.sleep(max(0.0, cut + dark - time.time()))
        proxy.resume()
        figures = rig.wait_for_results(calls)
        rig.close()

    remark = f"{in_time} of {count} done {last:.0f} s after the cut"
    rig.report("black hole to 1 of 2 workers", f"{count} x 1 s", figures, remark)
    if rig.ours:
        assert in_time == count
