"""Failed tasks are sent again by a program that is killed in the middle, again and again."""

import random
import subprocess
import sys

from harness.profiles import OURS, on
from harness.rig import FULL, scaled, wait_until
from kombu import Connection

RETRY_ALL = (
    "from framework.celery.celery import celery; from framework.failures import Failures; Failures(celery).retry('all')"
)


def retry_all(rig):
    return subprocess.Popen([sys.executable, "-c", RETRY_ALL], cwd=rig.folder, env=rig.environment())


def kill_in_the_middle(rig, after):
    """Send all again, and kill -9 once so many more have been sent; whether there were others left to send."""
    with Connection(rig.url) as connection:
        channel = connection.channel()

        def sent():
            return channel.queue_declare("celery", passive=True).message_count

        before = sent()
        with retry_all(rig) as process:
            while process.poll() is None and sent() < before + after:
                pass
            in_the_middle = process.poll() is None
            process.kill()
    return in_the_middle


@on(OURS, short=["sqlite"])
def test_sending_all_failed_tasks_again_is_killed_in_the_middle(rig):
    count, kills, chance = scaled(300, 100), 12 if FULL else 4, random.Random(12)
    # given a registry full of tasks that failed while something was down
    (rig.folder / "down").touch()
    worker = rig.worker()
    calls = rig.publish("fail_while", count, "down")
    wait_until(lambda: len(rig.registered(calls)) == count, 120, "the registry")
    worker.kill()
    (rig.folder / "down").unlink()

    # when they are sent again, and whoever does that is killed
    killed = sum(kill_in_the_middle(rig, chance.randint(1, count // kills)) for _ in range(kills))
    with retry_all(rig) as process:
        assert process.wait(120) == 0

    # then each runs
    rig.revive()
    figures = rig.settle(calls)
    rig.report(f"retry --all killed x{kills}", f"{count}", figures, f"{killed} in the middle")
    assert killed >= kills // 2
    assert set(rig.numbers("done")) == {call.number for call in calls}
