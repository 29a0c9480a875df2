"""A project in a folder, its workers, and an application that calls its tasks, on the broker of the test."""

import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue

import pytest
from kombu import pools

from framework.celery.app import App
from tests.integration.fork_server import ForkServer

ROOT = Path(__file__).parents[2]

TASKS = '''
import os, signal, sys, time
from pathlib import Path
from framework.celery.celery import celery

HERE = Path(__file__).parents[2]

def note(name, value):
    """Append a line to a file at once, so that a test can read it after any crash."""
    with (HERE / name).open("a") as file:
        file.write(f"{value}\\n")

@celery.task
def add(x, y):
    return x + y

@celery.task
def write(value, name="written"):
    note(name, value)
    return value

@celery.task
def work(number, seconds=0.0, until=None):
    """Run for some seconds, and until there is a file of that name."""
    note("started", number)
    time.sleep(seconds)
    while until and not (HERE / until).exists():
        time.sleep(0.02)
    note("done", number)
    return number

@celery.task(bind=True, max_retries=3)
def flaky(self, failures):
    note("tries", time.time())
    if self.request.retries < failures:
        raise self.retry(countdown=0.3)
    return self.request.retries

@celery.task
def boom():
    raise ValueError("boom")

@celery.task(rate_limit="4/s")
def slowly():
    note("slowly", time.time())

@celery.task
def total(numbers):
    return sum(numbers)

@celery.task
def failed(request, exc, traceback):
    note("errors", f"{request.id} {exc}")

@celery.task(bind=True)
def kill_my_child(self, once):
    note("child", os.getpid())
    if not Path(once).exists():
        Path(once).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"
'''


class Worker:
    """A worker of the project; `kill` ends all its processes."""

    def __init__(self, fork_server, folder, environment, *options):
        self.lines: list[str] = []
        self._ready: Queue[bool] = Queue()
        options = ["--loglevel=info", "--without-mingle", "--without-gossip", "-c2", *options]
        self.process = fork_server.start_worker(str(folder), environment, *options)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)
            if line.rstrip().endswith(" ready."):
                self._ready.put(True)
        self._ready.put(False)

    def wait_until_ready(self, timeout=80):
        try:
            ready = self._ready.get(timeout=timeout)
        except Empty:
            ready = False
        assert ready, self.output
        return self

    @property
    def output(self):
        return "".join(self.lines)

    def kill(self):
        """Send SIGKILL to the worker and its pool."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self._end()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
        self._end()

    def _end(self):
        self.process.wait(60)
        self._reader.join(60)
        self.process.stdout.close()


@pytest.fixture
def project(tmp_path):
    """A folder with a task package ``probe.tasks`` and a ``celeryconfig.py`` that includes it."""
    folder = tmp_path / "project"
    (folder / "probe/tasks").mkdir(parents=True)
    (folder / "probe/__init__.py").touch()
    (folder / "probe/tasks/__init__.py").touch()
    (folder / "probe/tasks/any-name.py").write_text(TASKS)
    (folder / "celeryconfig.py").write_text(
        "from framework.discovery import find_tasks_in_project\nimports = find_tasks_in_project('probe')\n"
    )
    return folder


@pytest.fixture
def environment(broker_url):
    """The environment of the project's processes."""
    return {**os.environ, "CELERY_BROKER_URL": broker_url, "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="session")
def fork_server():
    """The process whose forks are the workers of the tests."""
    server = ForkServer(str(ROOT))
    yield server
    server.close()


@pytest.fixture
def start_worker(fork_server, project, environment):
    """Return a function that starts a worker and waits until it is ready; workers are killed at the end.

    Their output is part of the report of a test that fails.
    """
    workers: list[Worker] = []

    def start(*options, wait=True, **more):
        workers.append(Worker(fork_server, project, {**environment, **more}, "-n", f"w{len(workers)}@%h", *options))
        return workers[-1].wait_until_ready() if wait else workers[-1]

    yield start
    for worker in workers:
        worker.kill()
        print(worker.output)


@pytest.fixture
def result_backend():
    """The URL of the result backend of `app`."""
    return "rpc://"


@pytest.fixture
def app(broker_url, result_backend):
    """An application that calls the project's tasks by name, as a script elsewhere would."""
    app = App("caller", set_as_current=False, broker=broker_url, backend=result_backend)
    app.conf.task_remote_names = ["probe.*"]
    yield app
    consumer = getattr(app.backend, "result_consumer", None)
    if getattr(consumer, "_connection", None):
        consumer.stop()
    pools.reset()
    app.close()


@pytest.fixture
def call(app):
    """Return a function that makes a signature of one of the project's tasks."""
    return lambda name, *args, **kwargs: app.signature(f"probe.tasks.any-name.{name}", args, kwargs, app=app)


@pytest.fixture
def eventually():
    """Return a function that waits until a condition holds, such as a line that another process writes."""

    def wait(condition, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"the condition did not hold within {seconds} s"
            time.sleep(0.02)

    return wait


@pytest.fixture
def noted(project):
    """Return a function that reads the lines that tasks have written to a file."""

    def read(name):
        file = project / name
        return file.read_text().split("\n")[:-1] if file.exists() else []

    return read


@pytest.fixture
def frozen(eventually):
    """Return a context manager that stops a RabbitMQ node with SIGSTOP, and continues it at the end."""

    @contextmanager
    def freeze(node):
        os.kill(node.pid, signal.SIGSTOP)
        try:
            eventually(lambda: all(state_of(thread) == "T" for thread in Path(f"/proc/{node.pid}/task").iterdir()))
            yield
        finally:
            os.kill(node.pid, signal.SIGCONT)

    def state_of(thread):
        return (thread / "stat").read_text().rpartition(")")[2].split()[0]

    return freeze
