"""Unique tasks: at most one is queued or running for a key, on both brokers."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from celery._state import _task_stack
from kombu import pools

from framework.broker.producer import Unconfirmed
from framework.celery.app import App
from framework.errors import AlreadyQueued, BadKey, NotConfirmed
from framework.limits import Unique, unique

UNIQUE = """
import os, signal, time
from pathlib import Path
from celery.exceptions import Ignore, Reject
from framework.celery.celery import celery
from framework.limits import Unique

HERE = Path(__file__).parents[2]

def note(name, value):
    with (HERE / name).open("a") as file:
        file.write(f"{value}\\n")

def wait_for(name):
    while not (HERE / name).exists():
        time.sleep(0.02)

@celery.task(bind=True, unique=Unique(key="number"))
def report(self, number, until=None, dies=None):
    note("ran", f"{number} {self.request.id}")
    if until:
        wait_for(until)
    if dies and not (HERE / dies).exists():
        os.kill(os.getpid(), signal.SIGKILL)
    note("ended", number)

@celery.task(bind=True, unique=Unique(key="how", duplicate="raise"), max_retries=1)
def ends(self, how, call):
    note("ran", f"{how} {self.request.id}")
    if how == "fails":
        raise ValueError(how)
    if how == "retries":
        raise self.retry(countdown=0.5) if self.request.retries == 0 else ValueError(how)
    if how == "ignores":
        raise Ignore
    if how == "rejects":
        raise Reject(requeue=False)
    if how == "exits":
        raise SystemExit(1)
    if how == "hangs":
        time.sleep(60)
    if how == "kills":
        os.kill(os.getpid(), signal.SIGKILL)

@celery.task(bind=True, unique=True, acks_late=False)
def early(self, how):
    note("ran", f"{how} {self.request.id}")
    if how == "fails":
        raise ValueError(how)
"""

CROWD = """
import json, sys
from framework.celery.celery import celery
ids = {celery.send_task("probe.tasks.unique.report", (7, "go")).id for _ in range(int(sys.argv[1]))}
print(json.dumps(sorted(ids)))
"""


@pytest.fixture
def project(project):
    (project / "probe/tasks/unique.py").write_text(UNIQUE)
    return project


@pytest.fixture
def script(project, environment):
    """Start a script of the project."""

    def start(code, *args):
        command = [sys.executable, "-c", code, *map(str, args)]
        return subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.PIPE, text=True)

    return start


@pytest.fixture
def shop(broker_url):
    app = App("shop", set_as_current=False, broker=broker_url, backend="disabled://")
    yield app
    pools.reset()
    app.close()


@pytest.fixture
def queued(shop):
    """Return how many messages are in the task queue."""

    def count():
        with shop.connection_for_read() as connection:
            return shop.amqp.queues["celery"](connection.default_channel).queue_declare(passive=False).message_count

    return count


def test_tasks_for_two_addresses_of_one_network_and_for_a_text_and_a_number_are_two_tasks(shop, queued):
    """A8"""

    @shop.task(unique=Unique(key="target"))
    def scan(target): ...

    targets = ["2001:db8::1", "2001:db8::2", "5", 5, "int:5", ["a\0x", "1"], ["a", "x\0001"]]
    ids = {scan.delay(target).id for target in targets}

    assert len(ids) == len(targets) == queued()


def test_a_second_call_with_the_id_of_a_queued_task_queues_nothing(shop, queued):
    """A8"""

    @shop.task(unique=Unique(key="report"))
    def build(report): ...

    @shop.task(unique=Unique(key="report", duplicate="raise"))
    def raising(report): ...

    assert [build.apply_async(("a",), task_id="one").id for _ in range(50)] == ["one"] * 50
    raising.apply_async(("a",), task_id="two")
    with pytest.raises(AlreadyQueued) as already:
        raising.apply_async(("a",), task_id="two")

    assert already.value.id == "two"
    assert queued() == 2


def test_a_call_that_was_not_confirmed_is_queued_when_it_is_made_again_with_its_id(shop, queued):
    @shop.task(unique=Unique(key="report"))
    def build(report): ...

    def lose(*_, **__):
        raise Unconfirmed("timed out")

    shop.amqp.__dict__["send_task_message"] = lose
    with pytest.raises(NotConfirmed):
        build.apply_async(("a",), task_id="one")
    del shop.amqp.__dict__["send_task_message"]

    assert build.delay("a").id == "one", "its lock stays, since the broker may have the first"
    assert queued() == 0
    build.apply_async(("a",), task_id="one")
    build.apply_async(("a",), task_id="one")
    assert queued() == 1


def test_a_task_may_replace_itself_with_a_call_of_the_same_key(shop, queued):
    @shop.task(unique=Unique(key="report"), bind=True)
    def build(self, report): ...

    build.apply_async(("a",), task_id="one")
    _task_stack.push(build)
    build.push_request(id="one")
    try:
        build.apply_async(("a",), task_id="one")
    finally:
        build.pop_request()
        _task_stack.pop()

    assert queued() == 2


def test_a_duplicate_call_returns_the_first_ones_id(shop):
    @shop.task(unique=True)
    def build(report, colour="red"): ...

    first = build.delay("a")

    assert build.delay("a").id == first.id
    assert build.delay(report="a", colour="red").id == first.id
    assert build.delay("a", "blue").id != first.id
    assert build.delay("b").id != first.id


def test_a_duplicate_call_raises_with_that_option(shop):
    @shop.task(unique=Unique(key="report", duplicate="raise"))
    def build(report, colour="red"): ...

    first = build.delay("a")
    with pytest.raises(AlreadyQueued) as already:
        build.delay("a", "blue")

    assert already.value.id == first.id
    with pytest.raises(BadKey, match="report, which is None"):
        build.delay(None)


def test_a_lock_is_released_when_it_expires(shop, eventually):
    @shop.task(unique=Unique(expires=1))
    def build(): ...

    first = build.delay()

    eventually(lambda: build.delay().id != first.id)


def test_calls_do_not_prolong_a_lock(shop, eventually):
    @shop.task(unique=Unique(expires=2))
    def build(): ...

    first = build.delay()
    began = time.monotonic()
    eventually(lambda: build.delay().id != first.id)

    assert time.monotonic() - began > 1.5


def test_one_holds_a_lock_that_many_acquire_and_release(shop):
    """The broker confirmed a token that was published while the lock was released, and lost it."""
    holders, doubled, turns = [], [], iter(range(60))

    def work(thread):
        for turn in turns:
            name = f"{thread}-{turn}"
            while unique.acquire(shop, "unique.race", name, 60) is not None:
                pass
            holders.append(name)
            doubled.extend(holders[1:])
            unique.mark_queued(shop, "unique.race", name)
            doubled.extend(holders[1:])
            holders.remove(name)
            unique.release(shop, "unique.race", name)

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(work, thread) for thread in range(6)]:
            done.result()

    assert doubled == []
    assert next(turns, None) is None


def test_a_lock_keeps_the_life_that_it_was_acquired_with(shop):
    @shop.task(name="build", unique=Unique(key="report", expires=60))
    def build(report): ...

    first = build.delay("a")
    build.unique = Unique(key="report", expires=120)  # the next release of the project

    assert build.delay("a").id == first.id
    unique.release(shop, unique.lock_name(build, build.unique, {"report": "a"}), first.id, 30)
    assert build.delay("a").id != first.id


def test_a_long_id_of_a_holder_is_known(shop):
    @shop.task(unique=Unique())
    def build(): ...

    build.apply_async(task_id="1" * 80)

    assert build.apply_async(task_id="2" * 80).id == "1" * 80


def test_ids_that_look_like_values_are_known_as_they_are(shop):
    @shop.task(unique=Unique(key="report"))
    def build(report): ...

    for name in ("007", "1e3", "none", "it's", '"'):
        build.apply_async((name,), task_id=name)
        assert build.delay(name).id == name


def test_a_call_that_is_not_queued_leaves_no_lock(shop):
    @shop.task(unique=Unique(key="report"))
    def build(report, what): ...

    with pytest.raises(Exception, match="JSON"):
        build.delay("a", object())

    assert build.delay("a", 1).id != build.delay("b", 1).id


@pytest.mark.timeout(240)
def test_a_task_called_a_thousand_times_runs_once_and_once_more_after_its_worker_was_killed(
    project, script, start_worker, eventually, noted
):
    worker = start_worker()

    crowd = [script(CROWD, 125) for _ in range(8)]
    ids = [process.communicate()[0] for process in crowd]
    eventually(lambda: noted("ran"))

    assert len(set(ids)) == 1, "every call returned the same id"
    assert len(noted("ran")) == 1

    worker.kill()
    again = start_worker()
    eventually(lambda: len(noted("ran")) == 2)
    assert script(CROWD, 10).communicate()[0] == ids[0], "its lock survived its worker"

    (project / "go").touch()
    eventually(lambda: noted("ended") == ["7"])
    assert len(set(noted("ran"))) == 1
    assert len(noted("ran")) == 2
    eventually(lambda: script(CROWD, 1).communicate()[0] != ids[0])
    again.stop()


ENDS = """
import sys, time
from framework.celery.celery import celery
from framework.errors import AlreadyQueued
from probe.tasks.unique import ends

how, options = sys.argv[1], eval(sys.argv[2])
first = ends.apply_async((how, 1), **options)
end = time.time() + 90
while time.time() < end:
    try:
        second = ends.apply_async((how, 2), **options)
    except AlreadyQueued as already:
        assert already.id == first.id, (already.id, first.id)
        time.sleep(0.1)
    else:
        print(first.id, second.id)
        break
"""


@pytest.mark.timeout(600)
def test_every_end_of_a_task_releases_its_lock(project, script, start_worker, noted):
    with (project / "celeryconfig.py").open("a") as config:
        config.write("task_delivery_limit = 1\n")
    start_worker()
    ways = {how: {} for how in ("succeeds", "fails", "retries", "ignores", "rejects", "exits", "kills")}
    ways["hangs"] = {"time_limit": 1}
    ways["expires"] = {"expires": -1}

    for how, options in ways.items():
        ids = script(ENDS, how, options).communicate()[0].split()
        assert len(set(ids)) == 2, how
        first = [line for line in noted("ran") if line == f"{how} {ids[0]}"]
        assert len(first) == {"retries": 2, "exits": 2, "kills": 2, "expires": 0}.get(how, len(first) and 1), how


def test_a_task_with_early_acknowledgement_releases_its_lock_at_its_end(project, script, start_worker, noted):
    start_worker()
    code = ENDS.replace("ends", "early").replace("(how, 1)", "(how,)").replace("(how, 2)", "(how,)")
    code = code.replace("    else:", "    if second.id == first.id:\n        time.sleep(0.1)\n    else:")
    code = code.replace(
        "    try:\n        second = early.apply_async((how,), **options)\n    except AlreadyQueued as already:\n"
        "        assert already.id == first.id, (already.id, first.id)\n        time.sleep(0.1)\n",
        "    second = early.apply_async((how,), **options)\n",
    )

    for how in ("succeeds", "fails"):
        assert len(set(script(code, how, {}).communicate()[0].split())) == 2
