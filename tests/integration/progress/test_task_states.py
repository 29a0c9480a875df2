"""Watchers in any process receive the states of a task, on both brokers, and the last state is stored."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from types import SimpleNamespace

import pytest
from kombu.exceptions import OperationalError

from framework.celery.app import App
from framework.errors import BrokerError, TookTooLong
from framework.failures import Failures
from framework.progress import State, Step, Watcher, last_state, store
from framework.progress import reader as states
from framework.progress.publisher import close_publisher
from framework.progress.run import END_TIMEOUT_SECONDS, Run, publish_state
from framework.progress.store import StateStore, encoded
from framework.testing.rabbitmq import RabbitMQ

WAIT = 60

pytestmark = pytest.mark.timeout(300)

MORE_TASKS = '''

from datetime import date
from celery.exceptions import Ignore, Reject
from framework.errors import FrameworkError
from framework.progress import progress, run

run.END_TIMEOUT_SECONDS = 60  # on a busy machine a state is published late; this test is about their order

def hold(name):
    """Wait until the test creates a file."""
    while not (HERE / name).exists():
        time.sleep(0.01)

@celery.task(track=True)
def plain(value):
    hold("go")
    return {"value": value}

@celery.task(track=True)
def report(count):
    for number in progress(range(count), "reading"):
        if number == count // 2:
            note("half", number)
            hold("go")
    return count

@celery.task
def untracked_report():
    with progress(total=3, name="three") as step:
        step.advance()
        hold("go")
        step.advance(2)

@celery.task
def nested():
    for _ in progress(range(4), "outer"):
        with progress(total=10, name="inner") as step:
            step.set(5)
            step.message("half of it")
            note("nested", 1)
            hold("go")

@celery.task(track=True)
def broken(text):
    raise ValueError(text)

@celery.task(track=True)
def explained():
    raise FrameworkError("The file has no rows. Choose another one.")

class Expected(Exception):
    """An error that the task lists in throws."""

@celery.task(track=True, throws=(Expected,))
def expected():
    raise Expected("as agreed")

@celery.task(bind=True, track=True, max_retries=3)
def again(self):
    if self.request.retries < 1:
        raise self.retry(countdown=1, exc=FrameworkError("The other side is busy."))
    return "at last"

@celery.task(bind=True, track=True, autoretry_for=(OSError,), retry_backoff=False, default_retry_delay=0, max_retries=5)
def again_at_once(self):
    if self.request.retries < 5:
        raise OSError("not yet")
    return self.request.retries

@celery.task(track=True, time_limit=8)
def too_slow():
    for _ in progress(range(10), "slowly"):
        time.sleep(30)

@celery.task(track=True, soft_time_limit=8)
def softly_too_slow():
    time.sleep(30)

@celery.task(track=True)
def killed_once(count):
    for number in progress(range(count), "reading"):
        if number == count // 2 and not (HERE / "killed").exists():
            note("half", os.getpid())
            hold("killed")
            time.sleep(30)
    return count

@celery.task(track=True, reject_on_worker_lost=False)
def dies():
    os.kill(os.getpid(), signal.SIGKILL)

@celery.task(track=True)
def ignored():
    raise Ignore

@celery.task(track=True)
def rejected():
    raise Reject("not for me", requeue=False)

@celery.task(track=True)
def poison():
    os.kill(os.getpid(), signal.SIGKILL)

@celery.task(track=True)
def broken_once():
    if not (HERE / "fixed").exists():
        raise ValueError("not yet")

@celery.task(track=True)
def odd_results(kind):
    return {"large": "x" * 100_000, "odd": {"day": date(2031, 2, 3)}, "none": None}[kind]
'''


@pytest.fixture
def project(project):
    file = project / "probe/tasks/any-name.py"
    file.write_text(file.read_text() + MORE_TASKS)
    return project


@pytest.fixture(autouse=True)
def long_timeouts(monkeypatch):
    """Let a call, the end of a run and a read wait as long as a busy machine needs."""
    monkeypatch.setattr("framework.progress.signals.CALL_TIMEOUT_SECONDS", WAIT)
    monkeypatch.setattr("framework.progress.run.END_TIMEOUT_SECONDS", WAIT)
    monkeypatch.setattr("framework.progress.reader.READ_TIMEOUT_SECONDS", WAIT)


@pytest.fixture(autouse=True)
def closed_publisher(app):
    yield
    close_publisher(app)


@pytest.fixture
def go(project):
    return (project / "go").touch


@pytest.fixture
def watcher(app):
    with Watcher(app) as watcher:
        yield watcher


@pytest.fixture
def served(app, watcher):
    """Wait until the watcher has served all requests: it serves them in order, and this one is for a stored state."""

    def wait():
        arrived = threading.Event()
        end = watcher.subscribe("mark", lambda _: arrived.set())
        assert arrived.wait(WAIT)
        end()

    with app.connection_for_write(transport_options={"confirm_publish": True}) as connection:
        channel = connection.default_channel
        store.declare_exchange(channel)
        store.declare_value(channel, "mark", 3600)
        store.replace(channel, "mark", encoded(State("mark", "mark", "queued", 0, time.time())))
    return wait


@pytest.fixture
def follow(watcher, served):
    """Watch a task: record its states from now on, and wait for one that matches."""

    class Followed:
        def __init__(self, task_id):
            self.seen = []
            self._arrived = threading.Condition()
            self.end = watcher.subscribe(task_id, self._take)
            served()

        def _take(self, state):
            with self._arrived:
                self.seen.append(state)
                self._arrived.notify_all()

        def until(self, matches, seconds=WAIT):
            with self._arrived:
                assert self._arrived.wait_for(lambda: any(map(matches, self.seen)), seconds), self.seen
                return next(state for state in self.seen if matches(state))

        def until_the_end(self, seconds=WAIT):
            return self.until(lambda state: state.final, seconds)

        @property
        def statuses(self):
            return [state.status for state in self.seen]

    return Followed


@pytest.fixture
def private_rabbitmq(broker, request):
    """The broker, for a test that stops it."""
    if broker != "rabbitmq":
        pytest.skip("the embedded broker is not a process")
    server = request.getfixturevalue("rabbitmq")
    if not isinstance(server, RabbitMQ):
        pytest.skip("an external server is not stopped")
    return server


@pytest.fixture
def tracked(app):
    """Make a task of the project as its own code would call it, with track=True."""

    def make(name):
        def body(*args): ...

        return app.task(body, name=f"probe.tasks.any-name.{name}", track=True, shared=False)

    return make


def is_half(state):
    return state.status == "progress" and state.progress.steps[0].done == 50


def test_a_tracked_task_is_reported_from_its_call_to_its_result(start_worker, tracked, follow, go, app, eventually):
    sent = tracked("plain").delay(7)
    followed = follow(sent.id)
    queued = followed.until(lambda state: state.status == "queued")

    start_worker()
    started = followed.until(lambda state: state.status == "started")
    go()
    ended = followed.until_the_end()

    assert followed.statuses == ["queued", "started", "success"]
    assert ended.result == {"value": 7}
    assert [state.number for state in followed.seen] == sorted({state.number for state in followed.seen})
    assert queued.at <= started.at <= ended.at
    assert {state.id for state in followed.seen} == {sent.id}
    assert ended.task == "probe.tasks.any-name.plain"
    assert last_state(sent.id, app=app) == ended
    assert sent.get(WAIT) == {"value": 7}


def test_a_late_watcher_receives_the_last_state_and_then_the_next_ones(
    start_worker, call, follow, go, app, noted, eventually
):
    start_worker()
    sent = call("report", 100).apply_async()
    eventually(lambda: noted("half"))

    followed = follow(sent.id)
    first = followed.until(is_half)
    assert last_state(sent.id, app=app).progress.fraction == 0.5
    go()
    ended = followed.until_the_end()

    assert first.progress.steps[0].name == "reading"
    assert first.progress.steps[0].total == 100
    assert ended.result == 100
    assert ended.progress.fraction == 1.0
    assert last_state(sent.id, app=app) == ended
    assert list(states.watch(sent.id, app=app)) == [ended]


def test_a_task_with_progress_is_reported_without_track(start_worker, call, follow, go, app):
    sent = call("untracked_report").apply_async()
    followed = follow(sent.id)
    start_worker()

    one = followed.until(lambda state: state.progress is not None and state.progress.steps[0].done == 1)
    go()
    ended = followed.until_the_end()

    assert one.status == "progress"
    assert ended.status == "success"
    assert [(step.name, step.done, step.total) for step in ended.progress.steps] == [("three", 3, 3)]


def test_a_step_within_a_step_is_reported_inside_it(start_worker, call, follow, go):
    sent = call("nested").apply_async()
    followed = follow(sent.id)
    start_worker()

    state = followed.until(lambda state: state.progress is not None and state.progress.message == "half of it")
    go()

    assert [(step.name, step.done, step.total) for step in state.progress.steps] == [("outer", 0, 4), ("inner", 5, 10)]
    assert state.progress.fraction == 0.125
    assert followed.until_the_end().progress.fraction == 1.0


@pytest.mark.parametrize(
    ("name", "args", "error"),
    [
        ("broken", ["password=hunter2"], "Something went wrong (ValueError)."),
        ("explained", [], "The file has no rows. Choose another one."),
        ("expected", [], "as agreed"),
        ("softly_too_slow", [], "It took too long and was stopped."),
        ("dies", [], "What was running it ended unexpectedly."),
        ("rejected", [], "It was rejected."),
    ],
)
def test_a_failure_is_reported_without_secrets(start_worker, call, follow, app, name, args, error):
    sent = call(name, *args).apply_async()
    followed = follow(sent.id)
    start_worker()

    ended = followed.until_the_end()

    assert (ended.status, ended.error, ended.result) == ("failure", error, None)
    assert last_state(sent.id, app=app) == ended


def test_a_task_that_kills_its_process_at_each_delivery_is_reported_as_failed(start_worker, call, follow):
    sent = call("poison").apply_async()
    followed = follow(sent.id)
    start_worker()

    ended = followed.until_the_end()

    assert (ended.status, ended.error) == ("failure", "What was running it ended unexpectedly each time.")


def test_a_task_that_is_ended_at_its_time_limit_keeps_its_progress(start_worker, call, follow):
    sent = call("too_slow").apply_async()
    followed = follow(sent.id)
    start_worker()

    ended = followed.until_the_end()

    assert (ended.status, ended.error) == ("failure", "It took too long and was stopped.")
    assert ended.progress.steps[0].name == "slowly"


def test_a_retry_is_reported_with_its_time_and_its_reason(start_worker, call, follow):
    before = time.time()
    sent = call("again").apply_async()
    followed = follow(sent.id)
    start_worker()

    ended = followed.until_the_end()

    retry = followed.until(lambda state: state.status == "retry")
    assert before < retry.retry_at - 1 <= time.time()
    assert (retry.error, retry.attempt) == ("The other side is busy.", 1)
    assert (ended.result, ended.attempt) == ("at last", 2)
    assert followed.statuses == ["started", "retry", "started", "success"]


def test_states_of_immediate_retries_in_two_processes_are_in_order(start_worker, call, follow, app):
    sent = call("again_at_once").apply_async()
    followed = follow(sent.id)
    start_worker()
    start_worker()

    ended = followed.until_the_end()

    numbers = [state.number for state in followed.seen]
    assert numbers == sorted(set(numbers))
    assert [state.attempt for state in followed.seen if state.status == "retry"] == [1, 2, 3, 4, 5]
    assert (ended.result, ended.attempt) == (5, 6)
    assert last_state(sent.id, app=app) == ended


def test_a_revoked_task_is_reported_when_a_worker_drops_it(start_worker, tracked, follow, app, call):
    worker = start_worker()
    assert app.control.revoke("called-off", reply=True, limit=1, timeout=WAIT)
    sent = tracked("plain").apply_async([1], task_id="called-off")

    ended = follow(sent.id).until_the_end()

    assert (ended.status, ended.error) == ("revoked", "It was called off."), worker.output


def test_a_task_that_raises_ignore_is_reported_as_revoked(start_worker, call, follow):
    sent = call("ignored").apply_async()
    followed = follow(sent.id)
    start_worker()

    assert followed.until_the_end().status == "revoked"


SEND = """
import time
from framework.celery.celery import celery
from framework.progress import last_state

before = time.time()
sent = celery.send_task("probe.tasks.any-name.{name}", {args}, countdown={countdown})
after = time.time()
# On a busy machine the call returns before its state is published.
deadline = time.monotonic() + {wait}
while (state := last_state(sent.id, app=celery)) is None and time.monotonic() < deadline:
    time.sleep(0.01)
print(state and state.status, state and state.retry_at and before <= state.retry_at - {countdown} <= after)
celery.close()
"""


@pytest.mark.parametrize(
    ("name", "args", "countdown", "reported"),
    [("plain", [1], 0, "queued None"), ("plain", [1], 20, "queued True"), ("add", [1, 1], 0, "None None")],
)
def test_a_call_by_name_of_a_task_that_is_not_imported_is_reported(
    project, environment, name, args, countdown, reported
):
    script = SEND.format(name=name, args=args, countdown=countdown, wait=0 if reported == "None None" else WAIT)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=project, env=environment, capture_output=True, text=True, check=False
    )

    assert done.stdout.strip() == reported, done.stderr


def test_a_terminated_task_is_reported(start_worker, call, follow, app, eventually, noted):
    start_worker()
    sent = call("report", 100).apply_async()
    followed = follow(sent.id)
    followed.until(is_half)

    app.control.revoke(sent.id, terminate=True, signal="SIGKILL")
    ended = followed.until_the_end()

    assert (ended.status, ended.error) == ("revoked", "It was called off.")
    assert ended.progress.steps[0].done == 50


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_every_pool_reports_states(start_worker, call, follow, go, pool):
    go()
    sent = [call("report", 10).apply_async(), call("broken", "x").apply_async(), call("again").apply_async()]
    followed = [follow(each.id) for each in sent]
    start_worker("-P", pool)

    assert [each.until_the_end().status for each in followed] == ["success", "failure", "success"]


@pytest.mark.parametrize(("kind", "result"), [("large", None), ("odd", {"day": "2031-02-03"}), ("none", None)])
def test_a_result_is_reported_as_json_or_left_out(start_worker, call, follow, kind, result):
    sent = call("odd_results", kind).apply_async()
    followed = follow(sent.id)
    start_worker()

    ended = followed.until_the_end()
    assert ended.status in ("success", "failure")
    assert ended.result == result


def test_a_call_that_fails_leaves_no_state(tracked, app, eventually):
    with pytest.raises(BrokerError):
        tracked("plain").apply_async([1], task_id="never", exchange="nowhere", routing_key="nothing")

    eventually(lambda: last_state("never", app=app) is None)


def test_a_task_that_was_never_called_has_no_state(app):
    assert last_state("unknown", app=app) is None
    assert last_state("#", app=app) is None


@pytest.mark.parametrize("whole_worker", [True, False], ids=["worker", "child"])
def test_a_killed_task_reports_its_progress_from_the_start_again(
    start_worker, call, follow, app, project, noted, eventually, whole_worker
):
    worker = start_worker()
    sent = call("killed_once", 100).apply_async()
    followed = follow(sent.id)
    first = followed.until(is_half)

    if whole_worker:
        worker.kill()
        (project / "killed").touch()
        start_worker()
    else:
        os.kill(int(noted("half")[0]), signal.SIGKILL)
        (project / "killed").touch()
    ended = followed.until_the_end()

    assert (ended.status, ended.result, ended.progress.fraction) == ("success", 100, 1.0)
    after = followed.seen[followed.seen.index(first) + 1 :]
    assert "started" in [state.status for state in after]
    assert all(state.number > first.number for state in after)
    assert ended.attempt == 1
    assert last_state(sent.id, app=app) == ended


def test_concurrent_readers_all_read_the_last_state(start_worker, call, follow, go, app):
    start_worker()
    sent = call("report", 100).apply_async()
    follow(sent.id).until(is_half)
    followed = [follow(sent.id) for _ in range(20)]

    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda _: last_state(sent.id, app=app), range(200)))
    for each in followed:
        each.until(is_half)
    go()

    assert all(state is not None and is_half(state) for state in found)
    assert {each.until_the_end() for each in followed} == {last_state(sent.id, app=app)}


def test_a_run_that_the_broker_gave_to_another_worker_does_not_replace_its_final_state(app, follow):
    request = SimpleNamespace(id="twice", retries=0, delivery_info={"redelivered": False})
    again = SimpleNamespace(**{**vars(request), "x-delivery-count": 1})
    lost, second = Run(app, request, "twice"), Run(app, again, "twice")
    followed = follow("twice")
    lost.start()
    second.start()

    second.end("success", result=1)
    lost.steps.append(SimpleNamespace(step=lambda now: Step("late", 1)))
    lost.mark_dirty()
    lost.end("failure", error="late")

    assert last_state("twice", app=app).result == 1
    assert followed.until_the_end().result == 1
    followed_late = follow("twice")
    followed_late.until_the_end()
    assert [state.result for state in followed_late.seen] == [1]


def test_a_state_published_after_the_end_does_not_replace_the_final_one(app, eventually):
    run = Run(app, SimpleNamespace(id="ended", retries=0, delivery_info={}), "ended")
    run.start()
    run.end("success", result=1)
    eventually(lambda: (last := last_state("ended", app=app)) is not None and last.final)

    # when a process that does not know of the end publishes
    other = StateStore(app)
    publish_state(other, State("ended", "ended", "progress", 2**31, time.time()))
    other.close()

    assert last_state("ended", app=app).result == 1


def test_a_task_that_ended_and_runs_again_keeps_its_final_state(app, follow):
    request = SimpleNamespace(id="acked", retries=0, delivery_info={"redelivered": False})
    run = Run(app, request, "acked")
    run.start()
    run.end("success", result=1)

    again = Run(app, SimpleNamespace(**{**vars(request), "x-delivery-count": 1}), "acked")
    again.start()
    again.end("failure", error="it cannot be done twice")

    assert again.ended_before
    assert last_state("acked", app=app).result == 1


def test_a_failed_task_that_is_retried_is_reported_again(start_worker, call, follow, app, project, eventually):
    start_worker()
    sent = call("broken_once").apply_async()
    assert follow(sent.id).until_the_end().status == "failure"

    eventually(lambda: Failures(app).count() == 1)

    (project / "fixed").touch()
    Failures(app).retry([sent.id])

    eventually(lambda: last_state(sent.id, app=app).status == "success")


def test_the_number_of_stored_last_states_is_limited(app, follow):
    app.conf.task_state_max = 3
    runs = [Run(app, SimpleNamespace(id=f"run-{n}", retries=0, delivery_info={}), "many") for n in range(5)]
    followed = [follow(run.id) for run in runs]

    for run in runs:
        run.start()
    for run in runs:
        run.end("success", result=run.id)

    assert [last_state(run.id, app=app) is not None for run in runs] == [True, True, True, False, False]
    assert [each.until_the_end().result for each in followed] == [run.id for run in runs]


def test_a_last_state_expires(app, eventually):
    app.conf.task_state_expires = 6.0
    run = Run(app, SimpleNamespace(id="short", retries=0, delivery_info={}), "short")
    run.start()
    run.end("success", result=1)
    assert last_state("short", app=app).final

    def has_expired():
        time.sleep(8)  # each read restarts the expiry, which is up to a fifth later
        return last_state("short", app=app) is None

    eventually(has_expired)


def test_states_are_reported_across_a_restart_of_the_broker(private_rabbitmq, start_worker, call, follow, go, app):
    worker = start_worker()
    sent = call("report", 100).apply_async()
    followed = follow(sent.id)
    followed.until(is_half)

    private_rabbitmq.stop()
    private_rabbitmq.start()
    go()

    ended = followed.until_the_end()
    assert (ended.status, ended.result) == ("success", 100), worker.output
    assert last_state(sent.id, app=app) == ended


def test_a_task_does_not_wait_for_a_broker_that_is_away_and_its_final_state_is_published_later(
    private_rabbitmq, app, eventually, monkeypatch
):
    monkeypatch.setattr("framework.progress.run.END_TIMEOUT_SECONDS", END_TIMEOUT_SECONDS)
    run = Run(app, SimpleNamespace(id="away", retries=0, delivery_info={}), "away")
    run.start()
    eventually(lambda: last_state("away", app=app) is not None)

    private_rabbitmq.stop()
    started = time.monotonic()
    for number in range(100):
        run.steps[:] = [SimpleNamespace(step=lambda now, number=number: Step("working", number))]
        run.mark_dirty()
    took = time.monotonic() - started
    run.end("success", result=1)
    ended = time.monotonic() - started
    private_rabbitmq.start()

    # Waiting for the broker would take until it is started, after this.
    assert took < 20
    assert ended < 30
    eventually(lambda: last_state("away", app=app).final)
    assert last_state("away", app=app).progress.steps[0].done == 99


FORK = """
import os
import time
from framework.celery.celery import celery
from framework.progress import last_state

def queued():
    sent = celery.send_task("probe.tasks.any-name.plain", [1])
    # On a busy machine the call returns before its state is published.
    deadline = time.monotonic() + 60
    while (state := last_state(sent.id, app=celery)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert state.status == "queued"

queued()
pid = os.fork()
for _ in range(20):  # parent and child at the same time
    queued()
if not pid:
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
queued()
celery.close()
print("both reported")
"""


def test_a_process_and_its_fork_both_report_states(project, environment):
    done = subprocess.run(
        [sys.executable, "-c", FORK], cwd=project, env=environment, capture_output=True, text=True, check=False
    )

    assert done.stdout == "both reported\n", done.stderr


def test_one_watcher_watches_a_hundred_tasks_in_one_thread(app, watcher):
    runs = [Run(app, SimpleNamespace(id=f"run-{n}", retries=0, delivery_info={}), "many") for n in range(100)]
    ends: SimpleQueue[State] = SimpleQueue()
    for run in runs[:50]:
        run.start()
    before = set(threading.enumerate())
    for run in runs:
        watcher.subscribe(run.id, lambda state: ends.put(state) if state.final else None)
    assert len(set(threading.enumerate()) - before) == 1
    for run in runs[50:]:
        run.start()
    for run in runs:
        run.end("success", result=run.id)

    assert {ends.get(timeout=WAIT).result for _ in runs} == {run.id for run in runs}


def test_a_subscription_that_was_ended_receives_no_more_states(app, watcher):
    run = Run(app, SimpleNamespace(id="left", retries=0, delivery_info={}), "left")
    left, stayed = SimpleQueue(), SimpleQueue()
    end = watcher.subscribe(run.id, left.put)
    watcher.subscribe(run.id, stayed.put)
    run.start()
    assert (left.get(timeout=WAIT).status, stayed.get(timeout=WAIT).status) == ("started", "started")

    end()
    run.end("success", result=1)

    assert stayed.get(timeout=WAIT).status == "success"
    assert left.empty()


def test_a_callback_that_raises_does_not_affect_the_others(app, watcher):
    run = Run(app, SimpleNamespace(id="raises", retries=0, delivery_info={}), "raises")
    other = SimpleQueue()
    watcher.subscribe(run.id, lambda state: 1 / 0)
    watcher.subscribe(run.id, other.put)
    run.start()
    assert other.get(timeout=WAIT).status == "started"

    run.end("success", result=1)

    assert other.get(timeout=WAIT).status == "success"


def test_watching_ends_at_its_timeout(app):
    with pytest.raises(TookTooLong, match="unknown is not done after"):
        list(states.watch("unknown", timeout=0.3, app=app))


def test_watching_a_broker_that_does_not_answer_is_an_error():
    app = App("nowhere", set_as_current=False, broker="amqp://guest:guest@127.0.0.1:1//")
    with pytest.raises(OperationalError):
        last_state("any", app=app)
    with pytest.raises(OperationalError):
        next(states.watch("any", app=app))
