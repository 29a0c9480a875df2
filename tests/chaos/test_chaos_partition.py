"""Three nodes, of which one is cut off from the others: a follower of the task queue, and its leader."""

import shutil
import time
from collections import defaultdict
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path

import pytest
from harness import rig as rigs
from harness.partitions import PartitionedCluster
from harness.rig import Rig, scaled
from harness.schedulers import Schedulers

pytestmark = pytest.mark.full_run
#: Seconds of the cut: long enough that the nodes give each other up, and calls reach their deadline several times.
CUT_SECONDS = 40
#: As in `harness/guarded.py`, which only a project can import.
MOST, WINDOW, KEYS = 10, 5, 8
#: Seconds between two slots, of which none is due while the node is cut off.
PERIOD = 30
#: Seconds of the slowest call: its deadline, and a pause of its machine.
SLOWEST = rigs.PUBLISH_TIMEOUT + 5


@pytest.fixture(scope="module", params=["ignore", "pause_minority"])
def cluster(request, release):
    with PartitionedCluster(request.param, release) as three:
        yield three


@pytest.mark.parametrize("role", ["follower", "leader"])
def test_a_node_is_cut_off_and_comes_back(cluster, role, tmp_path, rows):
    rig = Rig("rabbitmq", tmp_path / "calls", cluster.vhost(), rows)
    beats = Rig("rabbitmq", tmp_path / "beats", cluster.vhost(), rows)
    schedulers = None
    try:
        shutil.copy(Path(rigs.__file__).with_name("guarded.py"), rig.folder / "probe/tasks/guarded.py")
        rig.worker(concurrency=2)
        cut = cluster.leader("celery", rig.url)
        if role == "follower":
            cut = next(node for node in cluster.nodes if node is not cut)
        here, there = sides(cluster, cut, rig.url)
        rig.worker(concurrency=2, url=here)
        schedulers = start_schedulers(cluster, cut, beats, 1, 2, lead_here=role == "leader")

        # Given callers on both sides, and one that reaches all nodes, the cut one first
        begin_counters(rig, here, there)
        works = [
            rig.publisher("work", scaled(1000, 100), 0.02, rate=20, url=there),
            rig.publisher("work", scaled(250, 25), 0.02, rate=5, url=here),
            rig.publisher("work", scaled(250, 25), 0.02, rate=5, url=f"{here};{there}"),
        ]
        limited = [rig.publisher("guarded.limited", scaled(400, 40), rate=8, url=url) for url in (here, there)]
        unique = [rig.publisher("guarded.only_one", scaled(400, 40), rate=8, url=url) for url in (here, there)]
        for publisher in (*works, *limited, *unique):
            publisher.wait_for_calls(10)

        # When the links of the node are cut, and healed
        with cluster.without(cut):
            time.sleep(CUT_SECONDS)
        cluster.reconcile(cut)

        # Then nothing that was confirmed is lost, and what must not be twice is not
        sent = [publisher.wait(300) for publisher in works]
        guarded = [publisher.wait(300) for publisher in (*limited, *unique)]
        figures = rig.wait_for_results([*chain(*sent)], quiet=30, tick=rig.revive)
        kept = [most_in_a_window(guarded[0] + guarded[1], key) for key in (0, 1)]
        doubled = doubled_tasks(rig, guarded[2] + guarded[3])
        slots = schedulers.finish()
    finally:
        rig.close()
        if schedulers:
            schedulers.end()
        beats.close()

    nodes = " ".join(filter(None, [cluster.release, cluster.handling]))
    fault = f"partition, {nodes}, {role} cut {CUT_SECONDS} s"
    raised = [sum(call.ok is False for call in calls) for calls in sent]
    figures = replace(figures, slowest=max(call.seconds for call in chain(*sent, *guarded)))
    remarks = [
        f"raised there {raised[0]}, here {raised[1]}, with all nodes {raised[2]}",
        f"limit of {MOST}: {max(kept)} in a window",
        f"unique: {doubled} doubled",
        f"guarded: {errors_of(guarded)}",
    ]
    beats.report(f"{fault}: schedule", f"{schedulers.slots} slots", slots, *schedulers.remarks())
    total = sum(map(len, sent))
    measured = {
        "row": f"{nodes}, {role}",
        "load": total,
        "raised": sum(raised),
        "lost": figures.lost,
        "duplicated": figures.duplicated,
        "doubled": doubled,
        "window": max(kept),
        "slots": slots.duplicated,
        "missed": slots.lost,
        "slowest": round(figures.slowest, 2),
    }
    rig.report(fault, f"{total}", figures, *remarks, raised_at_most=total, measured=measured)
    assert slots.duplicated == 0
    assert figures.slowest < SLOWEST
    if cluster.handling != "ignore":  # there both sides may count and lock until the restart
        assert max(kept) <= MOST
        assert doubled == 0


def test_a_leader_that_had_nothing_to_send_while_it_was_cut_off_does_not_send_beside_the_next(cluster, tmp_path, rows):
    rig = Rig("rabbitmq", tmp_path, cluster.vhost(), rows)
    schedulers = None
    cut = cluster.nodes[-1]
    try:
        # Given a leader on a node that is cut off after a slot
        schedulers = start_schedulers(cluster, cut, rig, PERIOD, lead_here=True)
        rigs.wait_until(lambda: rig.waiting() == 1, PERIOD + 10, "a slot")

        # When another one leads, and the links are healed before the next slot
        with cluster.without(cut):
            rigs.wait_until(lambda: len(schedulers.leaders()) == 2, PERIOD - 5, "another leader")

        # Then one of them sends it
        slots = schedulers.finish(PERIOD)
    finally:
        if schedulers:
            schedulers.end()
        rig.close()
        cluster.reconcile(cut)

    rig.report(f"partition, {cluster.handling}, leader without work", f"{schedulers.slots} slots", slots)
    assert slots.duplicated == 0


def sides(cluster, cut, url):
    """Return the URLs of a virtual host on the side of ``cut``, and on the other side."""
    urls = dict(zip(cluster.nodes, url.split(";"), strict=True))
    here = urls.pop(cut)
    return here, ";".join(urls.values())


def start_schedulers(cluster, cut, rig, *periods, lead_here):
    """Start one scheduler on each node; the first, which leads, is on the cut node or on another one."""
    here, there = sides(cluster, cut, rig.url)
    urls = [here, *there.split(";")] if lead_here else [*there.split(";"), here]
    schedulers = Schedulers(rig, 1, *periods, urls=urls)
    for _ in urls[1:]:
        schedulers.fork()
    rigs.wait_until(lambda: schedulers.text.count(" stands by\n") == len(urls), 60, "the other schedulers")
    return schedulers


def begin_counters(rig, here, there):
    """Let the counter of one key be kept on each side."""
    for key, url in enumerate((here, there)):
        (call,) = rig.publish("guarded.limited", 1, first=10_000_000 + key, url=url)
        assert call.ok


def most_in_a_window(calls, key):
    """Return the most calls that were certainly admitted within one window, whenever each took its token."""
    admitted = sorted((call.at, call.at + call.seconds) for call in calls if call.ok and call.number % 2 == key)
    ends = [end for _, end in admitted]
    return max(
        (sum(end < begin + WINDOW for end in ends[first:]) for first, (begin, _) in enumerate(admitted)), default=0
    )


def doubled_tasks(rig, calls):
    """Return how many unique tasks were queued or running while another one of their key was."""
    began, ended, keys = {}, {}, {}
    for key, ident, start, end in rig.noted("unique"):
        keys[ident] = int(key)
        began[ident] = min(began.get(ident, float("inf")), float(start))
        ended[ident] = min(ended.get(ident, float("inf")), float(end))
    for call in calls:
        if call.ok and call.id in began:
            began[call.id] = min(began[call.id], call.at + call.seconds)
    spans = defaultdict(list)
    for ident, key in keys.items():
        spans[key].append((began[ident], ended[ident]))
    return sum(later[0] < earlier[1] for of_key in spans.values() for earlier, later in pairwise(sorted(of_key)))


def errors_of(sent):
    """Return the errors of calls by name, with their number."""
    counted = defaultdict(int)
    for call in chain(*sent):
        if call.ok is False:
            counted[call.error.split(":")[0]] += 1
    return ", ".join(f"{number} {name}" for name, number in sorted(counted.items())) or "none"
