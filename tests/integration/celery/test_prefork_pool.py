"""A job that a child of the pool has begun is not begun again by the pool; a lost one is the broker's to send again."""

import subprocess
import sys

import pytest

POOL = """
import os, signal, time
from celery.concurrency.asynpool import AsynPool
from framework.celery.prefork import Pool
from kombu.asynchronous import Hub, set_event_loop

hub = Hub()
set_event_loop(hub)
pool = {kind}(1, threads=False, sched_strategy="fair", lost_worker_timeout=1.0)
pool.register_with_event_loop(hub)
hub.call_repeatedly(0.02, lambda: None)
loop = hub.create_loop()

def turn_until(condition):
    while not condition():
        next(loop)

def wait_without_turning(process):
    while process._is_alive():
        time.sleep(0.01)

turn_until(lambda: pool._all_inqueues)
"""

TAKEN = """
job = pool.apply_async(os._exit, (9,))
turn_until(lambda: job._write_to)
process = job._write_to
wait_without_turning(process)
assert not job._accepted, "what it said has been read already"
pool.on_job_process_down(job, process.pid)
print("run again" if job in pool.outbound_buffer else "not run again", flush=True)
turn_until(job.ready)
print(job._value.type.__name__, flush=True)
os._exit(0)
"""

NOT_TAKEN = """
process = pool._pool[0]
os.kill(process.pid, signal.SIGSTOP)
job = pool.apply_async(os.getpid)
turn_until(lambda: job._write_to)
os.kill(process.pid, signal.SIGKILL)
wait_without_turning(process)
pool.on_job_process_down(job, process.pid)
print("run again" if job in pool.outbound_buffer else "not run again", flush=True)
turn_until(job.ready)
print("done" if job._value != process.pid else "impossible", flush=True)
os._exit(0)
"""


@pytest.fixture
def told():
    """What a program says, its words in a list."""

    def run(kind, what):
        program = POOL.format(kind=kind) + what
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
        return done.stdout.splitlines() or done.stderr

    return run


def test_a_job_that_was_taken_by_a_dead_child_is_lost_with_it(told):
    assert told("Pool", TAKEN) == ["not run again", "WorkerLostError"]


def test_celery_s_own_pool_would_run_it_again(told):
    assert told("AsynPool", TAKEN)[0] == "run again"


def test_a_job_that_no_child_has_taken_is_given_to_the_next(told):
    assert told("Pool", NOT_TAKEN) == ["run again", "done"]
