"""A worker acknowledges a task that has run before the next one begins, on both brokers."""

import pytest


@pytest.fixture
def project(project):
    with (project / "celeryconfig.py").open("a") as settings:
        settings.write("worker_prefetch_multiplier = 8\n")
    return project


def test_a_solo_worker_killed_in_a_long_task_has_acknowledged_those_before(
    start_worker, project, call, noted, eventually
):
    for number in range(8):
        call("work", number).apply_async()
    call("work", "long", until="restarted").apply_async()
    worker = start_worker("-P", "solo")
    eventually(lambda: "long" in noted("started"))

    worker.kill()
    start_worker("-P", "solo")
    (project / "restarted").touch()

    eventually(lambda: "long" in noted("done"))
    assert noted("started") == [*"01234567", "long", "long"]
