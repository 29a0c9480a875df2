"""Processes that were forked after a call, as those of a preloaded web server, each get the results of their calls."""

import subprocess
import sys

import billiard
import pytest

PRELOADED = """
import os, sys, threading
from framework.celery.app import App

app = App("web", broker=sys.argv[1], backend="rpc://")
app.conf.task_remote_names = ["probe.*"]
WAIT = 60

def add(x, y):
    return app.send_task("probe.tasks.any-name.add", (x, y))

def names():
    return [app.oid, app.thread_oid, app.backend.oid]

def fork(work):
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, repr(work()).encode())
        os._exit(0)
    os.close(writer)
    return os.fdopen(reader)
"""

CALLS = """
assert add(1, 1).get(timeout=WAIT) == 2
early = add(2, 2)
children = [fork(lambda: [call.get(timeout=WAIT) for call in [add(child, n) for n in range(6)]]) for child in range(3)]
print([call.get(timeout=WAIT) for call in [add(10, n) for n in range(6)]], early.get(timeout=WAIT))
for child in children:
    print(child.read())
"""

INHERITED = """
known = add(1, 1)
known.get(timeout=WAIT)
children = [fork(lambda: [known.get(timeout=WAIT), add(3, 4).get(timeout=WAIT)]) for _ in range(2)]
for child in children:
    print(child.read())
print(add(5, 5).get(timeout=WAIT))
"""

NAMES = """
seen = [names()]
seen += [eval(fork(names).read()) for _ in range(3)]
app.backend.moved_to = app.backend.oid = "another-queue"
seen += [eval(fork(names).read())]
thread = threading.Thread(target=lambda: seen.append(eval(fork(names).read())))
thread.start()
thread.join()
for column in zip(*seen):
    print(len(set(column)))
print("another-queue" in str(seen))
"""


@pytest.fixture
def output(broker_url):
    """A function that runs the steps of a preloaded program, and returns the lines that it prints."""

    def run(steps):
        program = [sys.executable, "-c", PRELOADED + steps, broker_url]
        done = subprocess.run(program, capture_output=True, text=True, timeout=200, check=False)
        return done.stdout.splitlines() if done.returncode == 0 else done.stderr

    return run


@pytest.mark.timeout(300)
def test_parent_and_children_get_the_results_of_their_own_calls(start_worker, output):
    """A9"""
    start_worker("-P", "solo")

    assert output(CALLS) == [
        "[10, 11, 12, 13, 14, 15] 4",
        "[0, 1, 2, 3, 4, 5]",
        "[1, 2, 3, 4, 5, 6]",
        "[2, 3, 4, 5, 6, 7]",
    ]
    assert output(INHERITED) == ["[2, 7]", "[2, 7]", "10"]


@pytest.mark.parametrize("broker", ["sqlite"], indirect=True)
def test_a_child_has_no_name_of_its_parent_s_queues(output):
    """A9"""
    assert output(NAMES) == ["6", "6", "6", "False"]


@pytest.mark.parametrize("broker", ["rabbitmq"])
def test_a_pool_process_leaves_the_connections_of_its_worker_open(app):
    with app.pool.acquire(block=True) as connection:
        connection.default_channel.queue_declare("any", durable=True, auto_delete=False)

    child = billiard.Process(target=print)
    child.start()
    child.join(60)

    assert child.exitcode == 0
    with app.pool.acquire(block=True) as connection:
        assert connection.default_channel.queue_declare("any", passive=True).queue == "any"
