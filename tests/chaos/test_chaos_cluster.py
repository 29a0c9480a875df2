"""Three nodes: the leader of the queue is killed twice, and so is the node with a caller's reply queue."""

import subprocess
import sys
import time

import pytest
from harness.rig import Rig, scaled

from framework.testing.rabbitmq_cluster import Cluster
from framework.testing.rabbitmq_releases import is_installed

pytestmark = [
    pytest.mark.full_run,
    pytest.mark.skipif(not is_installed(), reason="RabbitMQ is not installed"),
]
RATE = 50


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as three:
        yield three


@pytest.mark.parametrize("profile", ["vanilla", "rabbitmq"])
def test_the_leader_is_killed_twice_under_load(cluster, profile, tmp_path, rows):
    count = scaled(1500, 400)
    rig = Rig(profile, tmp_path, cluster.vhost(), rows)
    try:
        for _ in range(2):
            rig.worker(concurrency=2)
        publisher = rig.publisher("work", count, 0.02, rate=RATE)
        for share in (0.2, 0.6):
            publisher.wait_for_calls(round(count * share), 120)
            killed = (
                cluster.leader("celery", rig.url) if rig.ours else next(node for node in cluster.nodes if node.running)
            )
            killed.kill()
            time.sleep(2)
            killed.start()
        figures = rig.wait_for_results(publisher.wait(180), quiet=25, tick=rig.revive)
    finally:
        rig.close()

    rig.report("cluster: leader kill -9 x2", f"{count}, {RATE}/s", figures)
    if rig.ours:
        assert figures.slowest < 10


CALLER = """
import sys
from probe.tasks.chaos import work
for number, _ in enumerate(sys.stdin):
    print(work.delay(number).get(timeout=30), flush=True)
"""


def test_results_arrive_after_the_node_with_the_reply_queue_is_killed(cluster, tmp_path, rows):
    rig = Rig("rabbitmq", tmp_path, cluster.vhost(), rows)
    try:
        rig.worker(concurrency=2)
        caller = subprocess.Popen(
            [sys.executable, "-c", CALLER],
            cwd=rig.folder,
            env=rig.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

        def call():
            caller.stdin.write("call\n")
            caller.stdin.flush()
            return caller.stdout.readline()

        with caller:
            assert call() == "None\n"  # the replies are on the first node, to which the caller is connected
            cluster.nodes[0].kill()
            try:
                assert [call(), call()] == ["None\n"] * 2
            finally:
                cluster.nodes[0].start()
            assert call() == "None\n"
            caller.stdin.close()
    finally:
        rig.close()
