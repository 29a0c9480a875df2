"""A task that failed for good is kept among the failed tasks before its message is let go, on both brokers."""

import json
import time

import pytest
from celery.exceptions import TaskRevokedError

WAIT = 60

MORE_TASKS = '''

from celery.exceptions import Ignore, Reject

class Expected(Exception):
    """What callers may expect of a task."""

class Unpicklable(Exception):
    def __init__(self, one, two):
        super().__init__(one)

class Rude(Exception):
    def __str__(self):
        raise RuntimeError("no text for you")

@celery.task
def unpicklable():
    raise Unpicklable("odd", 2)

@celery.task
def rude():
    raise Rude

@celery.task
def verbose():
    deep(100)

def deep(levels):
    if levels:
        deep(levels - 1)
    raise ValueError("é" * 5000)

@celery.task(throws=(Expected,))
def expected():
    raise Expected("as agreed")

@celery.task(throws=(Unpicklable,))
def expected_odd():
    raise Unpicklable("odd", 2)

@celery.task
def ignored():
    raise Ignore

@celery.task
def rejected():
    raise Reject("not for me", requeue=False)

@celery.task(acks_late=False)
def early_boom():
    raise ValueError("acknowledged before")

@celery.task(acks_on_failure=False)
def refused_boom():
    raise ValueError("not acknowledged")

@celery.task(time_limit=1)
def too_slow():
    time.sleep(30)

@celery.task(soft_time_limit=1)
def softly_too_slow():
    time.sleep(30)

@celery.task(reject_on_worker_lost=False)
def dies():
    os.kill(os.getpid(), signal.SIGKILL)

@celery.task
def poison(name):
    note("tries", name)
    os.kill(os.getpid(), signal.SIGKILL)

@celery.task
def exits():
    note("tries", "exits")
    sys.exit(3)

@celery.task
def greedy():
    note("tries", "greedy")
    raise MemoryError

@celery.task(bind=True, max_retries=2)
def gives_up(self):
    note("tries", self.request.retries)
    raise self.retry(exc=ValueError("still not"), countdown=0.1)

@celery.task(on_failure=lambda self, *args: 1 / 0, time_limit=1, bind=True)
def bad_hook(self):
    time.sleep(30)
'''


@pytest.fixture
def project(project):
    file = project / "probe/tasks/any-name.py"
    file.write_text(file.read_text() + MORE_TASKS)
    return project


@pytest.fixture(params=["prefork", "threads", "solo"])
def pool(request, start_worker):
    """A worker with one of the pools."""
    return start_worker("-P", request.param)


@pytest.fixture
def worker(start_worker):
    return start_worker()


@pytest.fixture
def kept(app):
    """Wait for a number of failed tasks; they are taken out."""

    def wait(count=1, seconds=WAIT):
        end = time.monotonic() + seconds
        found = []
        while len(found) < count:
            assert time.monotonic() < end, f"{len(found)} of {count} are kept"
            found += failed(app)
            time.sleep(0.02)
        return found

    return wait


def failed(app):
    found = []
    with app.connection_for_read() as connection, connection.channel() as channel:
        while message := channel.basic_get("celery.failed", no_ack=True):
            found.append(message)
    return found


def told(message):
    """What the headers say of a failure, without those that differ each time."""
    return {name: value for name, value in message.headers.items() if name.startswith("x-failed-")}


def left(app):
    """The names of the tasks that are still in the queue."""
    with app.connection_for_read() as connection, connection.channel() as channel:
        messages = iter(lambda: channel.basic_get("celery", no_ack=True), None)
        return {message.headers["task"] for message in messages}


def assert_nothing_is_kept(worker, call, app):
    assert call("add", 1, 1).apply_async().get(WAIT) == 2
    worker.stop()
    assert failed(app) == []
    # The last one may come back: its result is out before the worker, which is told to stop, has acknowledged it.
    assert left(app) <= {"probe.tasks.any-name.add"}


def test_an_exception_is_kept_with_the_task_as_it_was_called(pool, call, kept, app):
    sent = call("boom").apply_async(headers={"mine": [1, {"two": 3}]}, priority=3)

    [message] = kept()

    assert json.loads(message.body)[:2] == [[], {}]
    assert (message.headers["id"], message.headers["mine"]) == (sent.id, [1, {"two": 3}])
    assert message.properties["correlation_id"] == sent.id
    facts = told(message)
    assert facts["x-failed-reason"] == "failed"
    assert facts["x-failed-error"] == "ValueError: boom"
    assert 'raise ValueError("boom")' in facts["x-failed-traceback"]
    assert (facts["x-failed-attempts"], facts["x-failed-queue"]) == (1, "celery")
    assert facts["x-failed-worker"].startswith("w0@")
    with pytest.raises(ValueError, match="boom"):
        sent.get(WAIT)
    pool.stop()
    assert left(app) == set()


def test_retries_that_are_used_up_are_kept_once_with_their_number(worker, call, kept, noted, app):
    call("gives_up").apply_async()

    [message] = kept()

    assert noted("tries") == ["0", "1", "2"]
    assert told(message)["x-failed-error"] == "ValueError: still not"
    assert told(message)["x-failed-attempts"] == 3
    worker.stop()
    assert failed(app) == []


def test_a_long_error_keeps_its_beginning_and_a_long_traceback_its_end(worker, call, kept):
    call("verbose").apply_async()

    facts = told(kept()[0])

    assert facts["x-failed-error"].startswith("ValueError: éé")
    assert 1000 < len(facts["x-failed-error"].encode()) <= 1024
    assert 8000 < len(facts["x-failed-traceback"].encode()) <= 8192
    assert facts["x-failed-traceback"].rstrip().endswith("éé")


@pytest.mark.parametrize(("name", "error"), [("unpicklable", "Unpicklable('odd'"), ("rude", "Rude")])
def test_an_exception_that_cannot_be_sent_or_shown_is_kept_all_the_same(worker, call, kept, name, error):
    call(name).apply_async()

    assert error in told(kept()[0])["x-failed-error"]


@pytest.mark.parametrize("name", ["too_slow", "softly_too_slow", "bad_hook"])
def test_a_time_limit_is_kept_as_a_timeout_once(worker, call, kept, app, name):
    sent = call(name).apply_async()

    [message] = kept()

    assert message.headers["id"] == sent.id
    assert told(message)["x-failed-reason"] == "timeout"
    assert "TimeLimitExceeded" in told(message)["x-failed-error"]
    assert_nothing_is_kept(worker, call, app)


def test_a_task_that_killed_its_process_and_shall_not_run_again_is_kept_as_lost(worker, call, kept, app):
    call("dies").apply_async()

    [message] = kept()

    assert told(message)["x-failed-reason"] == "lost"
    assert "SIGKILL" in told(message)["x-failed-error"]
    assert_nothing_is_kept(worker, call, app)


@pytest.mark.parametrize("name", ["poison", "exits", "greedy"])
def test_a_poison_is_run_up_to_the_limit_and_kept_by_the_broker(worker, call, kept, noted, app, name):
    call(name, *(["x"] if name == "poison" else [])).apply_async()
    good = [call("add", number, 1).apply_async() for number in range(10)]

    [message] = kept()

    assert message.headers["x-death"][0]["reason"] == "delivery_limit"
    assert len(noted("tries")) == 6
    assert [result.get(WAIT) for result in good] == list(range(1, 11))
    assert_nothing_is_kept(worker, call, app)


@pytest.mark.parametrize("pool_name", ["threads", "solo"])
@pytest.mark.parametrize("name", ["exits", "greedy"])
def test_a_poison_ends_no_worker_of_another_pool(start_worker, call, kept, noted, app, name, pool_name):
    worker = start_worker("-P", pool_name)

    call(name).apply_async()

    [message] = kept()
    assert message.headers["x-death"][0]["reason"] == "delivery_limit"
    assert len(noted("tries")) == 6
    assert_nothing_is_kept(worker, call, app)


def test_a_task_acknowledged_before_it_ran_is_kept_when_it_fails(worker, call, kept, app):
    call("early_boom").apply_async()

    assert [told(message)["x-failed-error"] for message in kept()] == ["ValueError: acknowledged before"]
    assert_nothing_is_kept(worker, call, app)


@pytest.mark.parametrize("name", ["expected", "expected_odd", "ignored"])
def test_what_a_task_may_raise_is_not_kept(worker, call, app, name):
    call(name).apply_async()

    assert_nothing_is_kept(worker, call, app)


@pytest.mark.parametrize("name", ["rejected", "refused_boom"])
def test_a_message_that_is_rejected_goes_to_the_dead_letters_of_its_queue(worker, call, kept, app, name):
    call(name).apply_async()

    assert [message.headers["x-death"][0]["reason"] for message in kept()] == ["rejected"]
    assert_nothing_is_kept(worker, call, app)


def test_a_revoked_task_is_not_kept(worker, call, app, noted):
    sent = call("work", 1, seconds=30).apply_async()
    wait_until(lambda: noted("started"))

    app.control.revoke(sent.id, terminate=True)

    with pytest.raises(TaskRevokedError):
        sent.get(WAIT)
    assert_nothing_is_kept(worker, call, app)


def test_a_failure_that_cannot_be_kept_puts_the_task_back(worker, call, app, noted, kept):
    call("boom").apply_async()
    kept()
    with app.connection_for_write() as connection, connection.channel() as channel:
        channel.queue_delete("celery.failed")
        full = {"x-max-length": 0, "x-overflow": "reject-publish"}
        channel.queue_declare("celery.failed", durable=True, auto_delete=False, arguments=full)
        channel.queue_bind("celery.failed", "celery.failed")

    call("gives_up").apply_async(retries=2)

    wait_until(lambda: len(noted("tries")) >= 2)
    assert "cannot be stored in celery.failed" in worker.output


def test_500_failures_are_kept_each_once(worker, call, kept):
    sent = {call("boom").apply_async(ignore_result=True).id for _ in range(500)}

    messages = kept(len(sent))

    assert sorted(message.headers["id"] for message in messages) == sorted(sent)


def wait_until(condition, seconds=WAIT):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
