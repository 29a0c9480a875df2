"""The features of a plain Celery application work here too, on both brokers, with real workers."""

import itertools
import time

import pytest
from celery import chain, chord, group

WAIT = 60


@pytest.fixture
def worker(start_worker):
    return start_worker()


def test_a_call_by_name_runs_a_task_of_a_file_with_any_name(worker, app):
    assert app.send_task("probe.tasks.any-name.add", (2, 3)).get(WAIT) == 5


def test_a_chain_passes_each_result_to_the_next_task(worker, call):
    assert chain(call("add", 1, 2), call("add", 10), call("add", 100)).apply_async().get(WAIT) == 113


def test_a_group_runs_its_tasks_and_collects_their_results(worker, call):
    assert group(call("add", n, n) for n in range(5)).apply_async().get(WAIT) == [0, 2, 4, 6, 8]


def test_a_bound_task_that_retries_runs_again_after_its_countdown(worker, call, noted):
    assert call("flaky", 2).apply_async().get(WAIT) == 2

    tries = [float(at) for at in noted("tries")]
    assert len(tries) == 3
    assert all(after - before >= 0.3 for before, after in itertools.pairwise(tries))


def test_the_error_of_a_task_reaches_the_caller_and_its_link_error(worker, call, noted, eventually):
    sent = call("boom").apply_async(link_error=call("failed"))

    with pytest.raises(ValueError, match="boom"):
        sent.get(WAIT)
    eventually(lambda: noted("errors") == [f"{sent.id} boom"])


def test_a_worker_of_several_queues_runs_what_waits_in_each(start_worker, call, noted, project, eventually):
    start_worker("-c1", "-Q", "one,two")
    call("work", "long", until="go").apply_async(queue="one")
    eventually(lambda: noted("started") == ["long"])
    waiting = [call("add", number, 1).apply_async(queue=queue) for number, queue in enumerate(["one", "two", "two"])]

    (project / "go").touch()

    assert [result.get(WAIT) for result in waiting] == [1, 2, 3]


def test_a_link_gets_the_result(worker, call, noted, eventually):
    call("add", 2, 2).apply_async(link=call("write")).get(WAIT)

    eventually(lambda: noted("written") == ["4"])


def test_a_worker_keeps_to_a_rate_limit(worker, call, noted, eventually):
    called = time.time()
    for _ in range(9):
        call("slowly").apply_async()

    eventually(lambda: len(noted("slowly")) == 9)
    last = max(float(at) for at in noted("slowly"))
    assert last - called >= 1.7  # eight more at four a second, without the bucket's first token


def test_a_task_runs_after_its_countdown(worker, call, noted):
    sent_at = time.time()

    call("flaky", 0).apply_async(countdown=1).get(WAIT)

    assert 1 <= float(noted("tries")[0]) - sent_at < 30


def test_an_expired_task_is_not_run(call, start_worker, noted):
    call("write", "late").apply_async(expires=0.05)
    time.sleep(0.1)  # the expiry has to pass
    worker = start_worker()

    assert call("write", "next").apply_async().get(WAIT) == "next"

    worker.stop()
    assert noted("written") == ["next"]


def test_a_chord_calls_its_body_with_all_results(start_worker, app, call, project, monkeypatch):
    database = f"db+sqlite:///{project / 'results.db'}?timeout=60"
    monkeypatch.setenv("CELERY_RESULT_BACKEND", database)
    app._backend_cache, app._local.backend = None, None
    start_worker(CELERY_RESULT_BACKEND=database)

    summed = chord((call("add", n, n) for n in range(4)), call("total")).apply_async()

    assert summed.get(WAIT, interval=0.1) == 12


def test_inspect_ping_reaches_the_worker(worker, app):
    assert app.control.inspect(timeout=WAIT, limit=1).ping() == {worker_name(worker): {"ok": "pong"}}


def test_a_task_that_is_revoked_during_its_countdown_does_not_run(worker, app, call, noted, eventually):
    sent = call("write", "never").apply_async(countdown=15)  # the worker hears of the revocation before

    app.control.revoke(sent.id, reply=True, timeout=WAIT, limit=1)

    eventually(lambda: f"Discarding revoked task: probe.tasks.any-name.write[{sent.id}]" in worker.output)
    assert noted("written") == []


def test_events_report_a_task(start_worker, app, call):
    start_worker("-E")
    seen = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"task-succeeded": seen.append})
        with receiver.consumer_context(wakeup=False) as (used, _, _):
            sent = call("add", 1, 1).apply_async()
            while not seen:
                used.drain_events(timeout=WAIT)

    assert [event["uuid"] for event in seen] == [sent.id]


@pytest.mark.parametrize("pool", ["solo", "threads", "prefork"])
def test_each_pool_runs_tasks(start_worker, call, pool):
    start_worker("-P", pool)

    assert group(call("add", n, 1) for n in range(20)).apply_async().get(WAIT) == list(range(1, 21))


def worker_name(worker):
    return next(line.split()[-2] for line in worker.lines if line.rstrip().endswith(" ready."))
