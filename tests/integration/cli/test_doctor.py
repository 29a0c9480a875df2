"""`framework doctor`: it reports errors of broker and queues, and recreates a queue without losing a task."""

import random
import subprocess
import sys

import pytest
from amqp.exceptions import NotFound
from celery import Celery
from kombu import Connection, Queue

from framework.broker.migration import migration_queue
from framework.broker.queue_diff import differences


@pytest.fixture
def doctor(project, environment):
    """Run `framework doctor` in the project."""

    def run(*options, **more):
        return subprocess.run(
            [sys.executable, "-m", "framework", "doctor", *options],
            cwd=project,
            env={**environment, **more},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


@pytest.fixture
def plain(broker_url, app):
    """Plain Celery on the same broker; `app` has registered the embedded broker's transport."""
    with Celery("plain", set_as_current=False, broker=broker_url, backend="disabled") as made:
        yield made


def call_plainly(plain, count):
    for number in range(count):
        plain.send_task("probe.tasks.any-name.write", (number,), task_id=f"task-{number}")


def errors_of(run):
    return [line for line in run.stdout.splitlines() if line.startswith("wrong")]


def test_an_empty_broker_is_ok(doctor, broker_url):
    run = doctor()

    assert run.returncode == 0, run.stdout + run.stderr
    assert not errors_of(run)
    assert "The queue 'celery' is not there yet" in run.stdout
    with Connection(broker_url) as connection:
        assert differences(connection, Queue("celery")) is None


def test_a_broker_in_use_is_ok(doctor, start_worker, call):
    start_worker()
    call("write", 1).apply_async(countdown=3600)  # a short delay can be over before it is published

    run = doctor()

    assert run.returncode == 0, run.stdout + run.stderr
    assert "The queue 'celery' is as it is declared." in run.stdout
    assert "The queue 'celery.failed' is as it is declared." in run.stdout
    assert "The 30 queues of delays are there." in run.stdout
    assert "Dead letters go to the exchange 'celery.failed'." in run.stdout


def test_each_error_is_one_line(doctor, plain, broker_url):
    call_plainly(plain, 1)
    with Connection(broker_url) as connection, connection.channel() as channel:
        channel.exchange_declare("celery.failed", "direct", durable=True, auto_delete=False)
        channel.queue_declare("celery.delay.3", durable=True, auto_delete=False)

    run = doctor()

    assert run.returncode == 1
    assert [line.split("'")[1] for line in errors_of(run)] == ["celery", "celery.failed", "celery.delay.3"]
    assert "x-queue-type is 'classic' there and 'quorum' here" in errors_of(run)[0]
    assert "Traceback" not in run.stderr


def test_a_broker_that_is_down_is_an_error(doctor):
    run = doctor(CELERY_BROKER_URL="amqp://guest:secret@127.0.0.1:1//")

    assert run.returncode == 1
    assert len(errors_of(run)) == 1
    assert "secret" not in run.stdout


def test_a_result_backend_that_does_not_answer_is_an_error(doctor, tmp_path):
    run = doctor(CELERY_RESULT_BACKEND=f"file://{tmp_path}/nowhere")

    assert run.returncode == 1
    assert "result_backend" in run.stdout + run.stderr


def test_a_result_backend_that_celery_has_removed_is_an_error(doctor):
    run = doctor(CELERY_RESULT_BACKEND="amqp")

    assert run.returncode == 1
    [line] = errors_of(run)
    assert "The result backend cannot be used" in line
    assert "'amqp'" in line


def test_a_queue_of_plain_celery_is_recreated_and_its_tasks_run(doctor, plain, start_worker, noted, eventually):
    call_plainly(plain, 250)

    run = doctor("--migrate", "celery")

    assert run.returncode == 0, run.stderr
    assert "with 250 messages" in run.stdout
    assert not errors_of(doctor())
    start_worker()
    eventually(lambda: len(noted("written")) >= 250)
    assert sorted(map(int, noted("written"))) == list(range(250))


@pytest.mark.timeout(300)  # ten processes in turn
def test_a_migration_that_is_killed_again_and_again_loses_nothing(
    doctor, plain, project, environment, broker_url, migrated, eventually
):
    count, kills = 1000, 4
    call_plainly(plain, count)
    rng = random.Random(7)

    interrupted = 0
    for _ in range(kills):
        before, moves = migrated(), rng.randrange(1, count // 4)
        migration = subprocess.Popen(
            [sys.executable, "-m", "framework", "doctor", "--migrate", "celery"],
            cwd=project,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        eventually(
            lambda migration=migration, before=before, moves=moves: (
                migration.poll() is not None or abs(migrated() - before) >= moves
            )
        )
        migration.kill()
        migration.wait(60)
        interrupted += "A migration of the queue 'celery' did not end" in doctor().stdout
    last = doctor("--migrate", "celery")

    assert interrupted >= 1
    assert last.returncode == 0, last.stderr
    assert not errors_of(doctor())
    assert {f"task-{number}" for number in range(count)} == set(ids_in(broker_url, "celery"))


@pytest.fixture
def migrated(broker_url):
    """How many messages the migration of the queue `celery` has put aside."""
    with Connection(broker_url) as connection:

        def count():
            try:
                with connection.channel() as channel:
                    return channel.queue_declare(migration_queue("celery"), passive=True).message_count
            except NotFound:
                return 0

        yield count


def ids_in(url, name):
    with Connection(url) as connection:
        channel = connection.default_channel
        while message := channel.basic_get(name, no_ack=True):
            yield message.headers["id"]


def test_a_queue_that_a_worker_consumes_from_is_not_migrated(doctor, start_worker, project, plain):
    with (project / "celeryconfig.py").open("a") as config:
        config.write("from kombu import Queue\ntask_queues = [Queue('celery', max_priority=5)]\n")
    worker = start_worker()
    (project / "celeryconfig.py").write_text("imports = []\n")

    run = doctor("--migrate", "celery")

    assert run.returncode == 1
    assert "The queue 'celery' is in use by a worker" in run.stderr
    assert worker.process.poll() is None


def test_a_queue_that_only_a_worker_s_option_names_is_migrated(doctor, broker_url):
    with Connection(broker_url) as connection:
        connection.default_channel.queue_declare("adhoc", durable=True, auto_delete=False)

    run = doctor("--migrate", "adhoc")

    assert run.returncode == 0, run.stderr
    with Connection(broker_url) as connection:
        assert [each.argument for each in differences(connection, Queue("adhoc"))]


@pytest.mark.parametrize("broker", ["sqlite"], indirect=True)
@pytest.mark.parametrize("options", [(), ("--migrate", "celery")])
def test_an_application_of_plain_celery_is_an_error_that_names_the_class_it_needs(doctor, project, options):
    (project / "plain_app.py").write_text("import celery, framework.celery.app\napp = celery.Celery('plain_app')\n")

    run = doctor(*options, CELERY_APP="plain_app")

    assert run.returncode == 1
    [line] = errors_of(run)
    assert line.startswith("wrong  The application 'plain_app' is a celery.Celery, whose queues doctor does not know:")
    assert "make it an App (from framework.celery.app import App)" in line
    assert not run.stderr


def test_an_unknown_queue_is_an_error_that_names_it(doctor):
    run = doctor("--migrate", "celry")

    assert run.returncode == 1
    assert "No queue of this application is called 'celry'. There are: celery, celery.failed." in run.stderr


def test_a11_what_a_queue_with_priorities_lacks_is_a_note(doctor, project):
    with (project / "celeryconfig.py").open("a") as config:
        config.write("from kombu import Queue\ntask_queues = [Queue('celery', max_priority=5)]\n")

    run = doctor()

    assert run.returncode == 0
    [line] = [line for line in run.stdout.splitlines() if "classic queue" in line]
    assert line.startswith("note")
    assert "The queue 'celery' is a classic queue" in line
    assert "RabbitMQ 4" in line


def test_a2_a_full_queue_is_an_error_which_says_that_delayed_tasks_wait(doctor, project, app):
    limited = "Queue('celery', queue_arguments={'x-max-length': 1})"
    with (project / "celeryconfig.py").open("a") as config:
        config.write(f"from kombu import Queue\ntask_queues = [{limited}]\n")
    app.conf.task_queues = [eval(limited)]
    app.send_task("probe.any", countdown=3600, ignore_result=True)
    app.send_task("probe.any", ignore_result=True)

    run = doctor()

    assert run.returncode == 1
    [line] = errors_of(run)
    assert "The queue 'celery' is full" in line
    assert "its delayed tasks and retries wait" in line
