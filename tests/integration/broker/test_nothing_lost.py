"""Killed workers lose no task, on both brokers."""

import pytest

WAIT = 60


def test_a_task_whose_worker_was_killed_is_run_again(start_worker, project, call, noted, eventually):
    first = start_worker()
    call("work", 1, until="restarted").apply_async()
    eventually(lambda: noted("started"))

    first.kill()
    start_worker()
    (project / "restarted").touch()

    eventually(lambda: noted("done"))
    assert noted("started") == ["1", "1"]


@pytest.mark.timeout(300)
def test_three_kills_of_the_worker_over_300_tasks_lose_none(start_worker, call, noted, eventually):
    worker = start_worker()
    for number in range(300):
        call("work", number, seconds=0.01).apply_async()

    for share in (50, 120, 200):
        eventually(lambda share=share: len(noted("done")) >= share)
        worker.kill()
        worker = start_worker()

    eventually(lambda: len(set(noted("done"))) == 300)


def test_a_task_whose_pool_child_was_killed_is_run_again(start_worker, call, noted, tmp_path):
    start_worker()

    assert call("kill_my_child", str(tmp_path / "once")).apply_async().get(WAIT) == "survived"

    assert len(set(noted("child"))) == 2


def test_a_task_called_while_no_worker_runs_waits_for_one(start_worker, call):
    sent = call("add", 1, 1).apply_async()

    start_worker()

    assert sent.get(WAIT) == 2
