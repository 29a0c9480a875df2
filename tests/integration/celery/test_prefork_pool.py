"""A pool does not run a job again that a dead child had begun, and keeps no timer of a job that has ended."""

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

def run_loop_until(condition):
    while not condition():
        next(loop)

def wait_without_running_the_loop(process):
    while process._is_alive():
        time.sleep(0.01)

run_loop_until(lambda: pool._all_inqueues)
"""

ACCEPTED = """
job = pool.apply_async(os._exit, (9,))
run_loop_until(lambda: job._write_to)
process = job._write_to
wait_without_running_the_loop(process)
assert not job._accepted, "the pool has read already that the child accepted it"
pool.on_job_process_down(job, process.pid)
print("run again" if job in pool.outbound_buffer else "not run again", flush=True)
run_loop_until(job.ready)
print(job._value.type.__name__, flush=True)
os._exit(0)
"""

NOT_ACCEPTED = """
process = pool._pool[0]
os.kill(process.pid, signal.SIGSTOP)
job = pool.apply_async(os.getpid)
run_loop_until(lambda: job._write_to)
os.kill(process.pid, signal.SIGKILL)
wait_without_running_the_loop(process)
pool.on_job_process_down(job, process.pid)
print("run again" if job in pool.outbound_buffer else "not run again", flush=True)
run_loop_until(job.ready)
print("done" if job._value != process.pid else "impossible", flush=True)
os._exit(0)
"""


ENDED = """
for _ in range(30):
    jobs = [pool.apply_async(abs, (-1,), {limits}) for _ in range(100)]
    run_loop_until(lambda: all(job.ready() for job in jobs))
print(len(hub.timer), flush=True)
os._exit(0)
"""


@pytest.fixture
def output():
    """A function that runs a program with a pool of this class, and returns the lines that it prints."""

    def run(kind, steps):
        program = POOL.format(kind=kind) + steps
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=110, check=False)
        return done.stdout.splitlines() or done.stderr

    return run


def test_a_job_that_a_dead_child_had_accepted_is_lost(output):
    assert output("Pool", ACCEPTED) == ["not run again", "WorkerLostError"]


def test_celery_s_own_pool_runs_it_again(output):
    assert output("AsynPool", ACCEPTED)[0] == "run again"


def test_a_job_that_no_child_has_accepted_is_run_by_the_next(output):
    assert output("Pool", NOT_ACCEPTED) == ["run again", "done"]


@pytest.mark.parametrize("limits", ["timeout=1740", "soft_timeout=1700, timeout=1740"])
def test_timers_of_jobs_that_have_ended_do_not_pile_up_until_their_time_limit(output, limits):
    """B1"""
    [timers] = output("Pool", ENDED.format(limits=limits))

    assert int(timers) < 1500


def test_celery_s_own_pool_keeps_a_timer_of_each_job(output):
    [timers] = output("AsynPool", ENDED.format(limits="timeout=1740"))

    assert int(timers) > 3000
