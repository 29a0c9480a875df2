"""Every public call ends within its bound and with its error, whatever is wrong with the broker (A3).

`CALLS` is the table of the guide's page on deadlines, which is compared with it. The calls of one fault run at once, in
threads, as in a web server.
"""

import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import celery
import pytest
from celery.app.trace import build_tracer
from celery.exceptions import TimeoutError as ResultTimeout
from click import ClickException
from kombu import Queue, pools

from framework.celery.app import App
from framework.cli.doctor import doctor
from framework.errors import BrokerFileUnavailable, BrokerUnreachable, MessageRefused, RabbitMQMissing, TookTooLong
from framework.failures import ALL, Failures
from framework.failures.headers import failure_headers
from framework.limits import Limit, Unique
from framework.progress import last_state, watch
from framework.schedule import Schedules
from framework.testing.rabbitmq import RabbitMQ
from framework.web.core import LiveStates

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "docs/deadlines.md"

#: Seconds of ``task_publish_timeout``, and of the timeouts that calls take themselves.
TIMEOUT = 2.0

#: Seconds that a busy machine may add.
PAUSE = 6.0

#: Connections of the process: each call of the table has one.
CONNECTIONS = 30


@dataclass(frozen=True)
class Call:
    """A line of the table: what is called, its bound, and its error where the broker does not answer."""

    name: str
    run: Callable[[Any], object]
    bound: str = "`task_publish_timeout`"
    error: tuple[type[BaseException], ...] = (BrokerUnreachable,)
    #: Whether it only reads, which a broker does with an alarm too; None where that depends on what it finds.
    reads: bool | None = False

    @property
    def row(self) -> tuple[str, str, str]:
        """The line as the guide writes it."""
        errors = ["exit status 1" if each is SystemExit else f"`{each.__name__}`" for each in self.error]
        return self.name, self.bound, ", ".join(errors)


def nothing():
    """Do nothing, as a task."""


def run_doctor(caller):
    try:
        code = doctor.main([], obj=SimpleNamespace(app=caller.app), standalone_mode=False)
    except ClickException as exc:
        code = exc.exit_code
    if code:
        raise SystemExit(code)


CALLS = [
    Call("`task.delay()`", lambda caller: caller.plain.delay()),
    Call("`task.apply_async()`", lambda caller: caller.plain.apply_async(countdown=60)),
    Call("`app.send_task()`", lambda caller: caller.app.send_task("probe.any")),
    Call("a call of a task with `track=True`", lambda caller: caller.tracked.delay()),
    Call("a call of a task with a limit", lambda caller: caller.limited.delay()),
    Call("a call of a unique task", lambda caller: caller.unique.delay()),
    Call(
        "`group()`, each of its tasks",
        lambda caller: celery.group(caller.plain.si(), caller.plain.si(), app=caller.app).apply_async(),
    ),
    Call(
        "`chord()`, each of its tasks",
        lambda caller: celery.chord([caller.stored.si()], caller.stored.si(), app=caller.chords).apply_async(),
    ),
    Call(
        "`result.get(timeout=...)`",
        lambda caller: caller.result.get(timeout=TIMEOUT),
        "its `timeout`",
        (ResultTimeout, BrokerUnreachable),
    ),
    Call("`Limit.take()`", lambda caller: Limit("5/s", name="view", app=caller.app).take("key")),
    Call("`last_state()`", lambda caller: last_state("any", app=caller.app), reads=True),
    Call(
        "`watch(timeout=...)`",
        lambda caller: list(watch("any", timeout=TIMEOUT, app=caller.app)),
        "its `timeout`",
        (BrokerUnreachable, TookTooLong),
    ),
    Call("the last state, in a web application", lambda caller: LiveStates(caller.app).last("any"), reads=True),
    Call("`Failures.page()`", lambda caller: Failures(caller.failing["page"]).page(), reads=True),
    Call("`Failures.retry()`", lambda caller: Failures(caller.failing["retry"]).retry(ALL)),
    Call("`Failures.drop()`", lambda caller: Failures(caller.failing["drop"]).drop(ALL), reads=True),
    Call("`Schedules.status()`", lambda caller: caller.schedules.status(), reads=True),
    Call("`Schedules.pause()`", lambda caller: caller.schedules.pause("often")),
    Call("`Schedules.run()`", lambda caller: caller.schedules.run("often")),
    Call("`framework doctor`, each check", run_doctor, error=(SystemExit,), reads=None),
]


class Caller:
    """A process that calls: its applications and tasks."""

    def __init__(self, url):
        self.app = self._application(url, "rpc://")
        self.chords = self._application(url, "cache+memory://")
        self.failing = {name: self._application(url, "rpc://", name) for name in ("page", "retry", "drop")}
        self.plain = self.app.task(name="probe.plain")(nothing)
        self.stored = self.chords.task(name="probe.stored")(nothing)
        self.tracked = self.app.task(name="probe.tracked", track=True)(nothing)
        self.limited = self.app.task(name="probe.limited", limit=Limit("100/s"))(nothing)
        self.unique = self.app.task(name="probe.unique", unique=Unique(duplicate="raise"))(nothing)
        self.result = self.app.AsyncResult("never-called")
        self.schedules = Schedules(self.app)

    def _application(self, url, backend, name=""):
        app = App(f"caller{name}", set_as_current=False, broker=url, backend=backend)
        app.conf.update(
            task_publish_timeout=60.0,
            broker_pool_limit=CONNECTIONS,
            task_remote_names=["probe.*"],
            beat_schedule={"often": {"task": "probe.any", "schedule": 3600.0}},
        )
        if name:  # one process at a time reads a queue of failed tasks
            app.conf.update(task_default_queue=f"celery.{name}", task_failed_queue=f"failed.{name}")
        return app

    def connect(self):
        """Open every connection of the pool, declare what calls declare, and fail a task for each application."""
        with ExitStack() as held:
            for _ in range(CONNECTIONS):
                held.enter_context(self.app.pool.acquire(block=True)).ensure_connection(max_retries=0)
        self.plain.delay()
        self.plain.apply_async(countdown=60)
        for app in self.failing.values():
            app.send_task("probe.any")
            why = failure_headers(reason="failed", error="", traceback="", attempts=1, worker="", queue="celery")
            with app.producer_or_acquire() as producer:
                producer.publish({}, exchange=app.amqp.failed_queue.exchange, headers={**why, "id": "x", "task": "y"})

    def outcomes(self):
        """Make all calls at once; return the seconds that each took, and the error it raised."""

        for app in (self.app, self.chords, *self.failing.values()):
            app.conf.task_publish_timeout = TIMEOUT

        def measured(call):
            started, error = time.monotonic(), None
            try:
                call.run(self)
            except BaseException as exc:
                error = exc
            return call, time.monotonic() - started, error

        with ThreadPoolExecutor(len(CALLS)) as threads:
            return list(threads.map(measured, CALLS))

    def close(self):
        consumer = self.app.backend.result_consumer
        consumer.on_after_fork()
        pools.reset()
        self.app.close()


@contextmanager
def calling(url):
    caller = Caller(url)
    try:
        yield caller
    finally:
        caller.close()


def faults_of(outcomes, *, reading=(False,), unreachable=BrokerUnreachable):
    """Return what is wrong with the outcomes of calls: those that took too long, and those with another error.

    ``reading`` says whether calls that only read succeed; with both, either is right.
    """
    found = []
    for call, seconds, error in outcomes:
        expected = tuple(unreachable if each is BrokerUnreachable else each for each in call.error)
        right = isinstance(error, expected) and (call.reads is not True or False in reading)
        right = right or (error is None and call.reads is not False and True in reading)
        if seconds > TIMEOUT + PAUSE or not right:
            found.append(f"{call.name} after {seconds:.1f} s: {error!r}")
    return found


@pytest.fixture(scope="module")
def node():
    """A RabbitMQ node that these tests stop: no other test uses it."""
    try:
        rabbitmq = RabbitMQ()
    except RabbitMQMissing as missing:
        pytest.skip(missing.message)
    with rabbitmq:
        yield rabbitmq


@contextmanager
def alarm(node, command, on, off):
    node.ctl(command, on)
    try:
        assert "resource_limit" in node.ctl("eval", "rabbit_alarm:get_alarms().")
        yield
    finally:
        node.ctl(command, off)


def test_every_call_ends_while_the_broker_is_frozen(node, frozen):
    with calling(node.vhost()) as caller:
        caller.connect()

        with frozen(node):
            outcomes = caller.outcomes()

        assert faults_of(outcomes) == []


def test_a_message_larger_than_the_socket_s_buffer_ends_in_time_too(node, frozen):
    with calling(node.vhost()) as caller:
        caller.plain.delay()
        caller.app.conf.task_publish_timeout = TIMEOUT
        started = time.monotonic()

        with frozen(node), pytest.raises(BrokerUnreachable):
            caller.app.send_task("probe.any", ["x" * 12_000_000])

        assert time.monotonic() - started < TIMEOUT + PAUSE


@pytest.mark.parametrize(
    ("command", "on", "off"),
    [("set_vm_memory_high_watermark", "0.00001", "0.9"), ("set_disk_free_limit", "100000GB", "1MB")],
    ids=["memory", "disk"],
)
def test_every_call_ends_under_an_alarm_of_the_broker_and_reading_works(node, command, on, off):
    with calling(node.vhost()) as caller:
        caller.connect()

        with alarm(node, command, on, off):
            outcomes = caller.outcomes()

        assert faults_of(outcomes, reading=(True,)) == []


def test_every_call_ends_where_nothing_listens():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with calling(f"amqp://guest:guest@127.0.0.1:{port}//") as caller:
        assert faults_of(caller.outcomes()) == []


def test_every_call_ends_where_a_server_accepts_and_never_answers():
    with socket.create_server(("127.0.0.1", 0), backlog=200) as silent:
        port = silent.getsockname()[1]
        with calling(f"amqp://guest:guest@127.0.0.1:{port}//") as caller:
            assert faults_of(caller.outcomes()) == []


LOCK = """
import sqlite3, sys
file = sqlite3.connect(sys.argv[1], isolation_level=None)
file.execute("begin immediate")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(file):
    """Keep a file locked by another process."""
    command = [sys.executable, "-c", LOCK, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as locker:
        assert locker.stdout.readline() == "locked\n"
        try:
            yield
        finally:
            locker.stdin.close()


def test_every_call_ends_while_another_process_keeps_the_file_locked(tmp_path):
    with calling(f"sqlite:///{tmp_path}/broker.db") as caller:
        caller.connect()

        with locked(tmp_path / "broker.db"):
            outcomes = caller.outcomes()

        assert faults_of(outcomes, unreachable=BrokerFileUnavailable) == []


def fill(folder):
    """Write until the disk has no byte left."""
    with (folder / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"x" * 512)
        except OSError:
            return


def call_on_a_full_disk(folder):
    """Print what is wrong with the calls on a disk that is full; runs in a process of its own."""
    with calling(f"sqlite:///{folder}/broker.db") as caller:
        caller.connect()
        with sqlite3.connect(folder / "broker.db") as file:
            file.execute("pragma wal_checkpoint(truncate)")
        fill(folder)
        print(json.dumps(faults_of(caller.outcomes(), reading=(True, False), unreachable=BrokerFileUnavailable)))


def test_every_call_ends_while_the_disk_is_full(tmp_path):
    (tmp_path / "disk").mkdir()
    script = f"import pathlib, runpy; runpy.run_path({__file__!r})['call_on_a_full_disk'](pathlib.Path.cwd())"
    shell = 'mount -t tmpfs -o size=4m none disk; cd disk; exec "$0" -c "$1"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", shell, sys.executable, script]
    source = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=source, capture_output=True, text=True, timeout=90, check=False)
    if done.stderr.startswith(("unshare:", "mount:")):
        pytest.skip(f"this machine mounts nothing for a test: {done.stderr.strip()}")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


@pytest.fixture
def broker_url(node):
    """The broker of the tests with workers: the node that they stop."""
    return node.vhost()


UNTIL = """
import time
from pathlib import Path
from framework.celery.celery import celery

@celery.task
def until(path):
    while not Path(path).exists():
        time.sleep(0.05)
    return path
"""


def test_a_task_that_has_ended_stays_so_though_its_result_cannot_be_sent(
    node, project, start_worker, app, call, eventually
):
    """A10."""
    (project / "probe/tasks/waiting.py").write_text(UNTIL)
    with (project / "celeryconfig.py").open("a") as config:
        config.write(f"task_publish_timeout = {TIMEOUT}\n")
    worker = start_worker()
    task = app.send_task("probe.tasks.waiting.until", [str(project / "go")])
    eventually(lambda: f"[{task.id}] received" in worker.output)

    with alarm(node, "set_vm_memory_high_watermark", "0.00001", "0.9"):
        (project / "go").touch()
        eventually(lambda: f"The result of task {task.id} (SUCCESS) could not be sent" in worker.output)
        eventually(lambda: f"[{task.id}] succeeded" in worker.output)

    assert call("add", 1, 2).delay().get(timeout=60) == 3
    assert worker.output.count(f"[{task.id}] received") == 1
    assert Failures(app).count() == 0


def test_a_task_succeeds_though_the_file_is_locked_when_its_result_is_sent(tmp_path, caplog):
    """A10."""
    with calling(f"sqlite:///{tmp_path}/broker.db") as caller:
        caller.connect()
        run = build_tracer(caller.plain.name, caller.plain, app=caller.app)
        caller.app.conf.task_publish_timeout = TIMEOUT

        with locked(tmp_path / "broker.db"):
            started = time.monotonic()
            outcome = run("the-task", (), {}, {"id": "the-task", "reply_to": "caller", "correlation_id": "the-task"})

        assert outcome.info is None, "it failed"
        assert time.monotonic() - started < TIMEOUT + PAUSE
        assert "The result of task the-task (SUCCESS) could not be sent to its caller" in caplog.text


def send(app, count):
    for _ in range(count):
        app.send_task("probe.any")


@pytest.fixture
def refusing(node):
    """An application whose task queue is over the length that a policy sets, of which the declaration says nothing."""
    url = node.vhost()
    vhost = url.rpartition("/")[2]
    app = App("caller", set_as_current=False, broker=url, backend="disabled")
    app.conf.update(task_remote_names=["probe.*"], task_publish_timeout=60.0)
    send(app, 3)
    app.conf.task_publish_timeout = 3.0
    node.ctl("set_policy", "-p", vhost, "short", "^celery$", '{"max-length":1}', "--apply-to", "queues")
    yield app
    pools.reset()
    app.close()


def drain(app):
    """Take every message out of the task queue; return how many there were."""
    with app.connection_for_write() as connection:
        return sum(1 for _ in iter(lambda: connection.default_channel.basic_get("celery", no_ack=True), None))


def test_a_queue_that_refuses_for_a_while_takes_the_message_of_the_same_call(refusing):
    with pytest.raises(MessageRefused, match=r"its queue is full \(x-max-length\), or has no leader yet"):
        refusing.send_task("probe.refused")

    refusing.conf.task_publish_timeout = 60.0
    with ThreadPoolExecutor(1) as thread:
        drained = thread.submit(drain, refusing)
        refusing.send_task("probe.taken")

    assert drained.result() + drain(refusing) == 4


@pytest.mark.parametrize("where", ["rabbitmq", "sqlite"])
def test_a_queue_of_limited_length_refuses_at_once(where, request, tmp_path):
    url = request.getfixturevalue("broker_url") if where == "rabbitmq" else f"sqlite:///{tmp_path}/broker.db"
    app = App("caller", set_as_current=False, broker=url, backend="disabled")
    app.conf.update(task_remote_names=["probe.*"], task_publish_timeout=60.0)
    app.conf.task_queues = [Queue("celery", queue_arguments={"x-max-length": 1})]
    started = time.monotonic()

    with pytest.raises(MessageRefused):
        send(app, 5)  # a quorum queue notices a moment later that it is full

    assert time.monotonic() - started < 30
    pools.reset()


def test_a_call_waits_for_a_connection_of_the_pool_no_longer_than_for_the_broker(tmp_path):
    """A3."""
    app = App("caller", set_as_current=False, broker=f"sqlite:///{tmp_path}/broker.db", backend="rpc://")
    app.conf.update(task_publish_timeout=0.5, broker_pool_limit=1, task_remote_names=["probe.*"])
    with app.pool.acquire(block=True):
        started = time.monotonic()

        with pytest.raises(BrokerUnreachable, match="broker_pool_limit"):
            app.send_task("probe.any")
        with pytest.raises(BrokerUnreachable, match="broker_pool_limit"):
            last_state("any", app=app)

    assert time.monotonic() - started < 1.0 + PAUSE
    pools.reset()


def test_the_guide_has_the_same_table():
    lines = [line.strip("| ") for line in GUIDE.read_text().splitlines() if line.startswith("| ")]
    table = [tuple(cell.strip() for cell in re.split(r"\s*\|\s*", line)) for line in lines]

    assert [row for row in table if len(row) == 3][1:] == [call.row for call in CALLS]
