"""`Failures`, on both brokers."""

import json
import multiprocessing
import signal
import struct
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime

import amqp
import pytest
from kombu import Connection, Queue, pools

from framework.celery.app import App
from framework.errors import FailedTasksBusy, NotRetried, UnknownFailure
from framework.failures import ALL, Failures, reader
from framework.failures.headers import failure_headers
from framework.failures.queue import failed_queue as queue_called

BODY = json.dumps([[1, "two"], {"day": "today"}, {"callbacks": None}])


@pytest.fixture
def app(broker_url):
    app = App("shop", set_as_current=False, broker=broker_url, backend="rpc://")
    app.conf.task_remote_names = ["*"]
    yield app
    pools.reset()
    app.close()


@pytest.fixture
def failures(app, monkeypatch):
    monkeypatch.setattr(reader, "LOCK_TIMEOUT_SECONDS", 60.0)
    return Failures(app)


@pytest.fixture
def channel(broker_url, app):
    """A channel on which publishes are confirmed; the queue of failed tasks exists."""
    with Connection(broker_url, transport_options={"confirm_publish": True}) as connection:
        queue_called("celery.failed")(connection.default_channel).declare()
        app.amqp.queues["celery"](connection.default_channel).declare()
        yield connection.default_channel


@pytest.fixture
def fail(channel):
    """Publish a message to the failed-task queue, as a worker does."""

    def publish(id, *, body=BODY, task="shop.close", why=None, properties=None, **headers):  # noqa: A002
        recorded = {"reason": "failed", "error": "ValueError: boom", "traceback": "...\nValueError: boom"}
        recorded |= {"attempts": 3, "worker": "w1@host", "queue": "celery"} | (why or {})
        known = {"id": id, "task": task, "retries": 2, "eta": "2026-01-01T00:00:00", "expires": 9}
        message = channel.prepare_message(
            body, None, "application/json", "utf-8", {**known, **failure_headers(**recorded), **headers}, properties
        )
        channel.basic_publish(message, exchange="celery.failed", routing_key="", mandatory=True)

    return publish


@pytest.fixture
def ready(channel):
    return lambda queue: channel.queue_declare(queue, passive=True).message_count


@pytest.fixture
def take(channel):
    """Return the next message of a queue."""

    def take(queue):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if message := channel.basic_get(queue, no_ack=True):
                return message
            time.sleep(0.01)
        raise AssertionError(f"nothing came to {queue}")

    return take


def ids(tasks):
    return [task.id for task in tasks]


def test_no_failures_gives_an_empty_page(failures):
    assert failures.page() == []
    assert failures.count() == 0


def test_a_failed_task_has_all_recorded_fields(failures, fail):
    before = datetime.now(UTC)
    fail("a", **{"x-manual-retries": 1})

    (task,) = failures.page()

    assert (task.id, task.task, task.args, task.kwargs) == ("a", "shop.close", [1, "two"], {"day": "today"})
    assert (task.reason, task.error, task.traceback) == ("failed", "ValueError: boom", "...\nValueError: boom")
    assert (task.attempts, task.manual_retries, task.queue, task.worker) == (3, 1, "celery", "w1@host")
    assert before <= task.failed_at <= datetime.now(UTC)
    assert failures.get("a") == task


def test_a_page_has_the_oldest_and_the_next_page_continues(failures, fail):
    for number in range(7):
        fail(str(number))

    assert ids(failures.page(limit=3)) == ["0", "1", "2"]
    assert ids(failures.page(limit=3, offset=3)) == ["3", "4", "5"]
    assert ids(failures.page(limit=3, offset=6)) == ["6"]
    assert ids(failures.page(limit=3, offset=7)) == []


def test_a_page_can_be_of_one_reason_or_one_task(failures, fail):
    fail("a", why={"reason": "timeout"})
    fail("b", task="shop.open")
    fail("c", why={"reason": "timeout"}, task="shop.open")

    assert ids(failures.page(reason="timeout")) == ["a", "c"]
    assert ids(failures.page(task="shop.open")) == ["b", "c"]
    assert ids(failures.page(limit=1, offset=1, task="shop.open")) == ["c"]
    assert ids(failures.page(reason="timeout", task="shop.open")) == ["c"]


def test_reading_changes_neither_number_nor_order(failures, fail):
    for number in range(60):
        fail(str(number))

    for _ in range(25):
        failures.page(limit=7)
    with pytest.raises(UnknownFailure):
        failures.get("no such id")

    assert failures.count() == 60
    assert ids(failures.page(limit=60)) == [str(number) for number in range(60)]


def test_the_broker_delivers_few_large_tasks_ahead(app, fail, ready, monkeypatch):
    """B4."""
    monkeypatch.setattr(reader, "WINDOW_BYTES", 30_000)
    for number in range(20):
        fail(str(number), body=json.dumps([["x" * 10_000], {}, {}]))

    with reader.FailedQueue(app) as queue:
        for read, _ in enumerate(queue, start=1):
            assert ready("celery.failed") >= 20 - read - 2
    assert read == 20


def test_a_page_of_large_tasks_keeps_none_of_their_bodies(fail, broker_url):
    """B4."""
    for number in range(16):
        fail(str(number), body=json.dumps([["x" * (4 << 20)], {}, {}]))
    code = """
        import resource, sys
        from framework.celery.app import App
        from framework.failures import Failures
        failures = Failures(App("shop", broker=sys.argv[1]))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert [task.args for task in failures.page()] == [None] * 16
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), broker_url]

    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)

    # All bodies are 65,000 kilobytes, and were kept as texts; four of them may be on their way.
    assert int(done.stdout) < 50_000


def test_more_tasks_than_one_window_keep_their_order(failures, fail, monkeypatch):
    monkeypatch.setattr(reader, "WINDOW", 3)
    for number in range(130):
        fail(str(number))
    expected = [str(number) for number in range(130)]

    assert ids(failures.page(limit=200)) == expected
    assert ids(failures.page(limit=200)) == expected
    assert failures.drop(["7", "64"]) == 2
    assert ids(failures.page(limit=200)) == [each for each in expected if each not in ("7", "64")]


def test_an_unknown_id_names_the_nearest(failures, fail):
    fail("8f14e45f-ceea-467f-a8a5-6e4b2e1b7e22")

    with pytest.raises(UnknownFailure, match="'8f14e45f-ceea-467f-a8a5-6e4b2e1b7e22'"):
        failures.get("8f14e45f")
    with pytest.raises(UnknownFailure, match="'8f14e45f-ceea-467f-a8a5-6e4b2e1b7e22'"):
        failures.drop(["8f14e45f-ceea-467f-a8a5-6e4b2e1b7e23"])
    with pytest.raises(UnknownFailure, match="framework failed list"):
        failures.retry(["zzz"])


def test_a_retried_task_is_as_if_it_had_never_run(failures, fail, take, ready):
    fail(
        "a",
        properties={"correlation_id": "a", "reply_to": "answers", "expiration": None},
        lang="py",
        **{"x-delivery-count": 4, "x-first-death-queue": "celery", "CC": ["other"]},
    )

    assert failures.retry(["a"]) == 1

    sent = take("celery")
    headers = {name: value for name, value in sent.headers.items() if name != "x-delivery-count"}
    assert sent.body == BODY
    assert headers == {
        "id": "a",
        "task": "shop.close",
        "lang": "py",
        "retries": 0,
        "eta": None,
        "expires": None,
        "x-manual-retries": 1,
    }
    assert (sent.properties["correlation_id"], sent.properties["reply_to"]) == ("a", "answers")
    assert sent.properties["delivery_mode"] == 2
    assert failures.count() == 0


def test_a_message_of_the_first_protocol_is_listed_and_retried(channel, failures, take):
    body = {"task": "shop.close", "id": "old", "args": [1], "kwargs": {"x": 2}, "retries": 5, "eta": "2026-01-01"}
    message = channel.prepare_message(
        json.dumps(body), None, "application/json", "utf-8", {"x-failed-queue": "celery", "x-failed-reason": "failed"}
    )
    channel.basic_publish(message, exchange="celery.failed", routing_key="")

    task = failures.get("old")
    assert (task.task, task.args, task.kwargs) == ("shop.close", [1], {"x": 2})

    failures.retry(["old"])
    assert json.loads(take("celery").body) == body | {"retries": 0, "eta": None, "expires": None}


def test_all_of_one_reason_or_task_can_be_retried(failures, fail, ready):
    for number in range(4):
        fail(f"t{number}", why={"reason": "timeout"})
        fail(f"f{number}", task="shop.open")

    assert failures.retry(ALL, reason="timeout") == 4
    assert failures.retry(ALL, task="shop.nothing") == 0

    assert ready("celery") == 4
    assert ids(failures.page()) == [f"f{number}" for number in range(4)]
    assert failures.retry(ALL) == 4
    assert failures.count() == 0


def test_the_others_are_retried_when_one_id_is_unknown(failures, fail, ready):
    fail("a")
    fail("b")

    with pytest.raises(UnknownFailure, match="'c'"):
        failures.retry(["a", "c"])

    assert ready("celery") == 1
    assert ids(failures.page()) == ["b"]


def test_a_deleted_queue_is_declared_again(failures, fail, channel, take):
    fail("a")
    fail("b")
    channel.queue_delete("celery")

    assert failures.retry(ALL) == 2

    assert [take("celery").headers["id"] for _ in range(2)] == ["a", "b"]


def test_refused_tasks_stay_and_the_others_are_retried(failures, fail, channel, ready):
    Queue("small", queue_arguments={"x-max-length": 1, "x-overflow": "reject-publish"})(channel).declare()
    fail("a", why={"queue": "small"})
    fail("b", why={"queue": "small"})
    fail("c", why={"queue": ""})
    fail("d")

    with pytest.raises(NotRetried, match=r"task b \(and 1 more\) .* 'small' is full.* 2 others were sent"):
        failures.retry(ALL)

    assert (ready("small"), ready("celery")) == (1, 1)
    assert ids(failures.page()) == ["b", "c"]


def test_a_queue_that_cannot_be_declared_is_named(failures, fail, app):
    fail("a", why={"queue": "amq.forbidden"})

    with pytest.raises(NotRetried, match=r"'amq\.forbidden' refuses it: ACCESS_REFUSED"):
        failures.retry(ALL)

    assert ids(failures.page()) == ["a"]


def test_dropped_tasks_are_deleted(failures, fail):
    for number in range(5):
        fail(str(number), why={"reason": "malformed" if number % 2 else "failed"})

    assert failures.drop(["0"]) == 1
    assert failures.drop(ALL, reason="malformed") == 2
    assert ids(failures.page()) == ["2", "4"]
    assert failures.drop(ALL) == 2
    assert failures.count() == 0


def test_a_dead_letter_is_listed_with_its_reason(app, channel, failures, take):
    arguments = app.amqp.queues["celery"].queue_arguments | {"x-message-ttl": 1}
    channel.queue_delete("celery")
    Queue("celery", queue_arguments=arguments)(channel).declare()
    channel.basic_publish(
        channel.prepare_message(BODY, None, "application/json", "utf-8", {"id": "late", "task": "shop.close"}),
        routing_key="celery",
    )
    wait_until(lambda: failures.count() == 1)

    task = failures.get("late")

    assert (task.reason, task.queue, task.task, task.args) == ("expired", "celery", "shop.close", [1, "two"])
    assert task.error
    assert abs((task.failed_at - datetime.now(UTC)).total_seconds()) < 60


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"\xff\xfe garbage", {}),
        ("42", {"id": "a", "task": ["no", "name"]}),
        ("[" * 100_000, {"id": ["a"], "task": None, "retries": "x"}),
        ("[[], {}]", {"id": "a", "task": "t", "compression": "application/x-bz2"}),
        (BODY, {"id": "a", "task": "t", "x-failed-at": "yesterday", "x-failed-attempts": "many", "x-death": ["x", 1]}),
        ("{}", {"x-failed-reason": 7, "x-failed-queue": {"a": 1}, "x-death": [{"reason": None, "time": "now"}]}),
    ],
)
def test_any_message_can_be_listed_exported_and_dropped(failures, channel, body, headers, tmp_path):
    raw = body if isinstance(body, bytes) else body.encode()
    message = channel.prepare_message(raw, None, "application/json", None, headers)
    channel.basic_publish(message, exchange="celery.failed", routing_key="")

    (task,) = failures.page()

    assert task.id
    assert failures.get(task.id) == task
    assert failures.export(tmp_path / "failed.jsonl") == 1
    assert failures.drop([task.id]) == 1


class Unreadable(amqp.Message):
    """A message with an impossible timestamp."""

    def _serialize_properties(self):
        entry = b"\x01xT" + b"\x7f" * 8
        return b"\x20\x00" + struct.pack(">I", len(entry)) + entry


def test_unreadable_properties_do_not_hinder_reading(failures, fail, channel, broker):
    if broker != "rabbitmq":
        pytest.skip("the embedded broker cannot be sent such properties")
    channel.basic_publish(Unreadable("x"), exchange="celery.failed", routing_key="", mandatory=True)
    fail("a")

    (task,) = failures.page(reason="unknown")

    assert task.args is None
    assert failures.drop([task.id]) == 1
    assert ids(failures.page()) == ["a"]


class TestSecrets:
    @pytest.fixture
    def task(self, app, fail, failures):
        @app.task(name="shop.login", shared=False)
        def login(user, password, *more): ...

        body = [["ann", "hunter22"], {"api_key": "k-12345", "options": [{"Card_Number": 4111}]}, {}]
        fail(
            "a",
            task="shop.login",
            body=json.dumps(body),
            why={"error": "ValueError: hunter22 is wrong", "traceback": "login('hunter22') k-12345"},
        )
        return failures.get("a")

    def test_are_redacted_by_their_names_at_any_depth(self, task):
        assert task.args == ["ann", "***"]
        assert task.kwargs == {"api_key": "***", "options": [{"Card_Number": "***"}]}
        assert task.error == "ValueError: *** is wrong"
        assert task.traceback == "login('***') ***"

    def test_are_in_an_export_unless_it_is_redacted(self, task, failures, tmp_path):
        failures.export(tmp_path / "all")
        failures.export(tmp_path / "some", redacted=True)

        assert "hunter22" in (tmp_path / "all").read_text()
        assert "hunter22" not in (tmp_path / "some").read_text()
        assert (tmp_path / "all").stat().st_mode & 0o077 == 0

    def test_are_in_the_retried_task(self, task, failures, take):
        failures.retry(["a"])

        assert "hunter22" in take("celery").body

    def test_are_named_by_the_setting(self, app, task):
        app.conf.task_redacted_arguments = ["user"]

        assert Failures(app).get("a").args == ["***", "hunter22"]


def test_an_export_has_a_line_per_task_with_the_raw_message_if_it_is_unreadable(failures, fail, tmp_path):
    fail("a")
    fail("b", body="{broken")

    assert failures.export(tmp_path / "failed.jsonl") == 2

    good, broken = map(json.loads, (tmp_path / "failed.jsonl").read_text().splitlines())
    assert (good["id"], good["args"], good["reason"]) == ("a", [1, "two"], "failed")
    assert "body_base64" not in good
    assert (broken["id"], broken["args"], broken["body_base64"]) == ("b", None, "e2Jyb2tlbg==")


def test_a_second_reader_waits_and_then_raises(app, failures, fail, monkeypatch):
    fail("a")

    with reader.FailedQueue(app) as first, monkeypatch.context() as patch:
        patch.setattr(reader, "LOCK_TIMEOUT_SECONDS", 0.5)
        assert len(list(first)) == 1
        with pytest.raises(FailedTasksBusy, match="Another `framework failed`"):
            failures.page()

    assert ids(failures.page()) == ["a"]


def test_a_killed_reader_does_not_hinder_the_next(broker_url, failures, fail):
    for number in range(20):
        fail(str(number))
    processes = multiprocessing.get_context("fork")
    reading = processes.Event()
    killed = processes.Process(target=read_until_killed, args=(broker_url, reading), daemon=True)
    killed.start()
    assert reading.wait(60)

    killed.kill()
    killed.join()

    assert ids(failures.page()) == [str(number) for number in range(20)]


def test_tasks_that_fail_during_a_retry_of_all_are_not_retried_again(app, fail, failures, monkeypatch):
    fail("a")
    fail("b")
    original = reader.FailedQueue.retry

    def fails_again_at_once(self, entry):
        original(self, entry)
        fail(entry.id)

    monkeypatch.setattr(reader.FailedQueue, "retry", fails_again_at_once)

    assert failures.retry(ALL) == 2
    assert ids(failures.page()) == ["a", "b"]


def read_until_killed(url, reading):
    app = App("reader", set_as_current=False, broker=url)
    with reader.FailedQueue(app) as queue:
        assert len(list(queue)) == 20
        reading.set()
        signal.pause()


def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
