"""Workers and their pool children are killed, stopped too early, and given poison tasks."""

import pytest
from harness.profiles import EVERYWHERE, OURS, on
from harness.rig import FULL, QUIET, by_number, scaled, wait_until

LIMIT = 5


def killed_three_times(rig, kill):
    count = scaled(400, 60)
    rig.worker()
    calls = rig.publish("work", count, 0.1)
    for share in (0.2, 0.45, 0.7):
        wait_until(lambda share=share: len(rig.noted("started")) >= count * share, 180)
        kill(rig.workers[0])
        rig.revive()
        rig.workers[0].wait_until_ready()
    return f"{count} x 0.1 s", rig.wait_for_results(calls)


@on(EVERYWHERE, short=OURS)
def test_a_worker_is_killed_with_all_its_processes(rig):
    load, figures = killed_three_times(rig, lambda worker: worker.kill())

    rig.report("worker kill -9 x3", load, figures)


@on(EVERYWHERE)
def test_the_main_process_of_a_worker_is_killed(rig):
    load, figures = killed_three_times(rig, lambda worker: worker.kill_main())

    rig.report("worker main process kill -9 x3", load, figures)


@on(EVERYWHERE, short=["rabbitmq"])
def test_pool_children_are_killed(rig):
    count, kills = scaled(300, 60), scaled(10, 4)
    worker = rig.worker()
    calls = rig.publish("work", count, 0.1)

    for turn in range(kills):
        share = (turn + 1) / (kills + 2)
        wait_until(lambda share=share: len(rig.noted("started")) >= count * share, 180)
        wait_until(lambda turn=turn: worker.kill_child(turn), 60)

    rig.report(f"pool child kill -9 x{kills}", f"{count} x 0.1 s", rig.wait_for_results(calls))


@on(EVERYWHERE)
def test_an_orchestrator_stops_a_worker_in_less_time_than_a_task_takes(rig):
    if rig.ours:
        rig.configure(worker_soft_shutdown_timeout=2.0)
        rig.variables["REMAP_SIGTERM"] = "SIGQUIT"
    count = scaled(24, 8)
    worker = rig.worker()
    calls = rig.publish("work", count, 5.0)
    wait_until(lambda: len(rig.noted("started")) >= 4, 60)

    in_time = worker.stop(grace=4)
    rig.revive()

    figures = rig.wait_for_results(calls, quiet=max(20, QUIET))
    rig.report(
        "SIGTERM, SIGKILL 4 s later", f"{count} x 5 s", figures, "" if in_time else "killed at the end of the grace"
    )
    if rig.ours:
        assert figures.duplicated == 0


POISON = ["segfault", "leave", "leave_at_once", "kill_main", "allocate", "no_memory", "loop"]


@pytest.mark.parametrize("kind", POISON if FULL else ["segfault"])
@on(EVERYWHERE, short=OURS)
def test_poison_among_good_tasks(rig, kind):
    good_count = scaled(60, 20)
    rig.worker()
    bad = rig.publish("poison", 3, kind)
    good = rig.publish("work", good_count, 0.05)

    calls = bad + good
    figures = rig.wait_for_results(calls, quiet=max(20, QUIET), seconds=400, tick=rig.revive)

    runs = by_number(rig.noted("started"))
    most = max((len(runs.get(call.number, ())) for call in bad), default=0)
    finished = set(rig.numbers("done"))
    good_done = sum(call.number in finished for call in good)
    registered = rig.registered(calls) if rig.ours else set()
    remark = f"{good_done}/{good_count} good done, poison run at most {most}x"
    rig.report(f"poison: {kind}", f"3 + {good_count}", figures, remark)
    if rig.ours:
        assert {call.number for call in bad} <= registered
        assert most <= LIMIT + 1
        assert {call.number for call in good} <= finished | registered
