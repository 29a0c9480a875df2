"""A task that failed for good is recorded as a failed task before its message is acknowledged, on both brokers."""

import json

import pytest
from celery.exceptions import TaskRevokedError

WAIT = 60

MORE_TASKS = '''

from celery.exceptions import Ignore, Reject

class Expected(Exception):
    """An exception that the task declares in ``throws``."""

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
def recorded(app, eventually):
    """Wait for a number of failed tasks, and remove them from their queue."""

    def wait(count=1, seconds=90):
        found = []
        eventually(lambda: found.extend(failed(app)) or len(found) >= count, seconds)
        return found

    return wait


def failed(app):
    found = []
    with app.connection_for_read() as connection, connection.channel() as channel:
        while message := channel.basic_get("celery.failed", no_ack=True):
            found.append(message)
    return found


def failure_headers(message):
    """Return the failure headers of a message."""
    return {name: value for name, value in message.headers.items() if name.startswith("x-failed-")}


def left(app):
    """Return the names of the tasks that are still in the queue."""
    with app.connection_for_read() as connection, connection.channel() as channel:
        messages = iter(lambda: channel.basic_get("celery", no_ack=True), None)
        return {message.headers["task"] for message in messages}


def assert_nothing_is_recorded(worker, call, app):
    assert call("add", 1, 1).apply_async().get(WAIT) == 2
    worker.stop()
    assert failed(app) == []
    assert left(app) == set()


def test_an_exception_is_recorded_with_the_task_as_it_was_called(pool, call, recorded, app):
    sent = call("boom").apply_async(headers={"mine": [1, {"two": 3}]}, priority=3)

    [message] = recorded()

    assert json.loads(message.body)[:2] == [[], {}]
    assert (message.headers["id"], message.headers["mine"]) == (sent.id, [1, {"two": 3}])
    assert message.properties["correlation_id"] == sent.id
    headers = failure_headers(message)
    assert headers["x-failed-reason"] == "failed"
    assert headers["x-failed-error"] == "ValueError: boom"
    assert 'raise ValueError("boom")' in headers["x-failed-traceback"]
    assert (headers["x-failed-attempts"], headers["x-failed-queue"]) == (1, "celery")
    assert headers["x-failed-worker"].startswith("w0@")
    with pytest.raises(ValueError, match="boom"):
        sent.get(WAIT)
    pool.stop()
    assert left(app) == set()


def test_exhausted_retries_are_recorded_once_with_their_number(worker, call, recorded, noted, app):
    call("gives_up").apply_async()

    [message] = recorded()

    assert noted("tries") == ["0", "1", "2"]
    assert failure_headers(message)["x-failed-error"] == "ValueError: still not"
    assert failure_headers(message)["x-failed-attempts"] == 3
    worker.stop()
    assert failed(app) == []


def test_a_long_error_keeps_its_beginning_and_a_long_traceback_its_end(worker, call, recorded):
    call("verbose").apply_async()

    headers = failure_headers(recorded()[0])

    assert headers["x-failed-error"].startswith("ValueError: éé")
    assert 1000 < len(headers["x-failed-error"].encode()) <= 1024
    assert 8000 < len(headers["x-failed-traceback"].encode()) <= 8192
    assert headers["x-failed-traceback"].rstrip().endswith("éé")


@pytest.mark.parametrize(("name", "error"), [("unpicklable", "Unpicklable('odd'"), ("rude", "Rude")])
def test_an_exception_that_cannot_be_pickled_or_printed_is_recorded(worker, call, recorded, name, error):
    call(name).apply_async()

    assert error in failure_headers(recorded()[0])["x-failed-error"]


@pytest.mark.parametrize("name", ["too_slow", "softly_too_slow", "bad_hook"])
def test_a_time_limit_is_recorded_once_as_a_timeout(worker, call, recorded, app, name):
    sent = call(name).apply_async()

    [message] = recorded()

    assert message.headers["id"] == sent.id
    assert failure_headers(message)["x-failed-reason"] == "timeout"
    assert "TimeLimitExceeded" in failure_headers(message)["x-failed-error"]
    assert_nothing_is_recorded(worker, call, app)


def test_a_task_that_killed_its_process_and_is_not_requeued_is_recorded_as_lost(worker, call, recorded, app):
    call("dies").apply_async()

    [message] = recorded()

    assert failure_headers(message)["x-failed-reason"] == "lost"
    assert "SIGKILL" in failure_headers(message)["x-failed-error"]
    assert_nothing_is_recorded(worker, call, app)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["poison", "exits", "greedy"])
def test_a_poison_message_runs_up_to_the_limit_and_is_dead_lettered(worker, call, recorded, noted, app, name):
    call(name, *(["x"] if name == "poison" else [])).apply_async()
    good = [call("add", number, 1).apply_async() for number in range(10)]

    [message] = recorded(seconds=200)

    assert message.headers["x-death"][0]["reason"] == "delivery_limit"
    assert len(noted("tries")) == 6
    assert [result.get(WAIT) for result in good] == list(range(1, 11))
    assert_nothing_is_recorded(worker, call, app)


@pytest.mark.parametrize("pool_name", ["threads", "solo"])
@pytest.mark.parametrize("name", ["exits", "greedy"])
def test_a_poison_message_ends_no_worker_of_another_pool(start_worker, call, recorded, noted, app, name, pool_name):
    worker = start_worker("-P", pool_name)

    call(name).apply_async()

    [message] = recorded()
    assert message.headers["x-death"][0]["reason"] == "delivery_limit"
    assert len(noted("tries")) == 6
    assert_nothing_is_recorded(worker, call, app)


def test_a_task_acknowledged_before_it_ran_is_recorded_when_it_fails(worker, call, recorded, app):
    call("early_boom").apply_async()

    assert [failure_headers(message)["x-failed-error"] for message in recorded()] == ["ValueError: acknowledged before"]
    assert_nothing_is_recorded(worker, call, app)


@pytest.mark.parametrize("name", ["expected", "expected_odd", "ignored"])
def test_expected_exceptions_are_not_recorded(worker, call, app, name):
    call(name).apply_async()

    assert_nothing_is_recorded(worker, call, app)


@pytest.mark.parametrize("name", ["rejected", "refused_boom"])
def test_a_message_that_is_rejected_goes_to_the_dead_letters_of_its_queue(worker, call, recorded, app, name):
    call(name).apply_async()

    assert [message.headers["x-death"][0]["reason"] for message in recorded()] == ["rejected"]
    assert_nothing_is_recorded(worker, call, app)


def test_a_revoked_task_is_not_recorded(worker, call, app, noted, eventually):
    sent = call("work", 1, seconds=30).apply_async()
    eventually(lambda: noted("started"))

    app.control.revoke(sent.id, terminate=True)

    with pytest.raises(TaskRevokedError):
        sent.get(WAIT)
    assert_nothing_is_recorded(worker, call, app)


def test_a_failure_that_cannot_be_recorded_requeues_the_task(worker, call, app, noted, recorded, eventually):
    call("boom").apply_async()
    recorded()
    with app.connection_for_write() as connection, connection.channel() as channel:
        channel.queue_delete("celery.failed")
        full = {"x-max-length": 0, "x-overflow": "reject-publish"}
        channel.queue_declare("celery.failed", durable=True, auto_delete=False, arguments=full)
        channel.queue_bind("celery.failed", "celery.failed")

    call("gives_up").apply_async(retries=2)

    eventually(lambda: len(noted("tries")) >= 2)
    eventually(lambda: "cannot be stored in celery.failed" in worker.output)


@pytest.mark.timeout(300)
def test_500_failures_are_recorded_once_each(worker, call, recorded):
    sent = {call("boom").apply_async(ignore_result=True).id for _ in range(500)}

    messages = recorded(len(sent), seconds=200)

    assert sorted(message.headers["id"] for message in messages) == sorted(sent)
