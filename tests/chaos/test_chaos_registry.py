"""Failed tasks are retried by a program that is killed repeatedly."""

import subprocess
import sys

from harness.profiles import OURS, on
from harness.rig import FULL, scaled, wait_until

RETRY_ALL = """
import itertools, os, random, signal, sys, threading
from framework.celery.celery import celery
from framework.failures import Failures, reader

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def retry(self, entry):
    number = next(numbers)
    if number == last:
        threading.Timer(random.random() / 100, kill).start()
    elif number == 2 * last:
        kill()
    sent(self, entry)

if len(sys.argv) > 1:
    last, numbers, sent = int(sys.argv[1]), itertools.count(1), reader.FailedQueue.retry
    reader.FailedQueue.retry = retry
Failures(celery).retry("all")
"""


def retry_all(rig, *killed_after):
    """Retry all failed tasks, in a process that is killed soon after so many if given; return whether it completed."""
    command = [sys.executable, "-c", RETRY_ALL, *map(str, killed_after)]
    return subprocess.run(command, cwd=rig.folder, env=rig.environment(), timeout=300, check=False).returncode == 0


def killed_in_the_middle(rig, count, times):
    """Kill the retry after it has sent some tasks and before it has sent all, up to ``times``; return how often."""
    killed, sent = 0, rig.waiting()
    while killed < times and not retry_all(rig, count // (3 * times)):
        before, sent = sent, rig.waiting()
        killed += sent > before
    return killed


@on(OURS, short=["sqlite"])
def test_the_retry_of_all_failed_tasks_is_killed_in_the_middle(rig):
    count, kills = scaled(300, 100), 12 if FULL else 4
    # Given tasks that failed while a service was down
    (rig.folder / "down").touch()
    worker = rig.worker()
    calls = rig.publish("fail_while", count, "down")
    wait_until(lambda: len(rig.registered(calls)) == count, 240, "the registry")
    worker.kill()
    (rig.folder / "down").unlink()

    # When they are retried, and the retrying process is killed
    killed = killed_in_the_middle(rig, count, kills)
    assert retry_all(rig)

    # Then each runs
    rig.revive()
    figures = rig.wait_for_results(calls)
    rig.report(f"retry --all killed x{kills}", f"{count}", figures, f"{killed} in the middle")
    assert killed >= (kills // 2 if FULL else 1)
    assert set(rig.numbers("done")) == {call.number for call in calls}
