"""Failed tasks are sent again by a program that is killed in the middle, again and again."""

import subprocess
import sys

from harness.profiles import OURS, on
from harness.rig import FULL, scaled, wait_until

RETRY_ALL = """
import os, signal, sys, threading
from framework.celery.celery import celery
from framework.failures import Failures
if len(sys.argv) > 1:
    kill = threading.Timer(float(sys.argv[1]), os.kill, (os.getpid(), signal.SIGKILL))
    kill.daemon = True
    kill.start()
Failures(celery).retry("all")
"""


def retry_all(rig, *killed_after):
    """Send all failed tasks again, or some, where it is killed after so many seconds; whether it came to its end."""
    command = [sys.executable, "-c", RETRY_ALL, *map(str, killed_after)]
    return subprocess.run(command, cwd=rig.folder, env=rig.environment(), timeout=120, check=False).returncode == 0


def killed_in_the_middle(rig, times):
    """How often it was killed after it had sent some and before it had sent all, ``times`` at the most."""
    seconds, killed, sent = 0.02, 0, rig.waiting()
    while killed < times and not retry_all(rig, seconds):
        before, sent = sent, rig.waiting()
        killed += sent > before
        seconds *= 0.85 if sent > before else 1.2
    return killed


@on(OURS, short=["sqlite"])
def test_sending_all_failed_tasks_again_is_killed_in_the_middle(rig):
    count, kills = scaled(300, 100), 12 if FULL else 4
    # given a registry full of tasks that failed while something was down
    (rig.folder / "down").touch()
    worker = rig.worker()
    calls = rig.publish("fail_while", count, "down")
    wait_until(lambda: len(rig.registered(calls)) == count, 120, "the registry")
    worker.kill()
    (rig.folder / "down").unlink()

    # when they are sent again, and whoever does that is killed
    killed = killed_in_the_middle(rig, kills)
    assert retry_all(rig)

    # then each runs
    rig.revive()
    figures = rig.settle(calls)
    rig.report(f"retry --all killed x{kills}", f"{count}", figures, f"{killed} in the middle")
    assert killed >= (kills // 2 if FULL else 1)
    assert set(rig.numbers("done")) == {call.number for call in calls}
