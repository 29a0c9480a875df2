"""A worker that cannot work logs one line with the cause, and exits."""

import pytest


@pytest.fixture
def refused(start_worker):
    """Start a worker that must not become ready; return its output and its exit status."""

    def start(**environment):
        worker = start_worker(wait=False, **environment)
        status = worker.process.wait(80)
        worker.kill()
        return worker.output, status

    return start


@pytest.fixture
def broker():
    """The embedded broker: these errors do not depend on the broker."""
    return "sqlite"


def test_a_task_module_that_cannot_be_imported_is_named(refused, project):
    bad = project / "probe/tasks/bad.py"
    bad.write_text("import os\nimport no_such_library\n")

    output, status = refused()

    assert f"Error: The task module probe.tasks.bad cannot be imported ({bad}, line 2): ModuleNotFoundError" in output
    assert "Traceback" not in output
    assert status == 1


def test_two_shared_tasks_with_one_name_are_refused_with_both_functions(refused, project):
    for name in ("one", "two"):
        text = f"from celery import shared_task\n@shared_task(name='count')\ndef {name}(): ...\n"
        (project / f"probe/tasks/{name}.py").write_text(text)

    output, status = refused()

    assert "'count'" in output
    assert "probe.tasks.one.one" in output
    assert "probe.tasks.two.two" in output
    assert "Traceback" not in output
    assert status == 1


def test_a_mistyped_setting_is_named(refused, project):
    with (project / "celeryconfig.py").open("a") as config:
        config.write("task_ack_late = True\n")

    output, status = refused()

    assert "'task_ack_late' is not a setting. Did you mean 'task_acks_late'?" in output
    assert "Traceback" not in output
    assert status == 1


def test_a_configuration_that_cannot_be_imported_is_named_with_its_line(refused, project):
    config = project / "celeryconfig.py"
    config.write_text("import os\nimport redis_of_mine\n")

    output, status = refused()

    assert f"Error: The configuration celeryconfig cannot be read ({config}, line 2): ModuleNotFoundError" in output
    assert "Traceback" not in output
    assert status == 1


def test_a_file_that_is_no_broker_is_named_and_not_changed(refused, tmp_path):
    file = tmp_path / "notes.db"
    file.write_text("not a database, but the notes of a user\n" * 100)

    output, status = refused(CELERY_BROKER_URL=f"sqlite:///{file}")

    assert f"Error: {file} is not an SQLite file" in output
    assert "Traceback" not in output
    assert status == 1
    assert file.read_text().startswith("not a database")


def test_a_login_that_rabbitmq_refuses_is_named_without_its_password(refused, rabbitmq):
    url = rabbitmq.vhost().replace("guest:guest@", "guest:invalid@")

    output, status = refused(CELERY_BROKER_URL=url)

    assert "guest:**@" in output
    assert "refuses the connection" in output
    assert "Check user, password and virtual host" in output
    assert "Traceback" not in output
    assert status == 1
