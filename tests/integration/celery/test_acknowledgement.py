"""What has been run is acknowledged before the next task begins, on both brokers."""

import time

import pytest

WAIT = 60


@pytest.fixture
def project(project):
    with (project / "celeryconfig.py").open("a") as settings:
        settings.write("worker_prefetch_multiplier = 8\n")
    return project


def test_a_solo_worker_killed_in_a_long_task_has_acknowledged_those_before(start_worker, call, noted):
    for number in range(8):
        call("work", number).apply_async()
    call("work", "long", seconds=2).apply_async()
    worker = start_worker("-P", "solo")
    wait_until(lambda: "long" in noted("started"))

    worker.kill()
    start_worker("-P", "solo")

    wait_until(lambda: "long" in noted("done"))
    assert noted("started") == [*"01234567", "long", "long"]


def wait_until(condition):
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
