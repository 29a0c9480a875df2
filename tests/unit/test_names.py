"""The names that existing scripts use: to rename one breaks them, so the old name stays beside the new one."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from importlib import import_module
from inspect import signature
from pathlib import Path

import celery as celery_itself
import pytest

import framework
from framework.config import RENAMED

ROOT = Path(__file__).parents[2]
CELERY = Path(sys.executable).with_name("celery")
TASKS = [
    "framework.tasks.dormant_accounts.delete_dormant_accounts",
    "framework.tasks.dormant_accounts.remind_account",
    "framework.tasks.dormant_accounts.remind_dormant_accounts",
    "framework.tasks.expiring_cards.mark_expiring_cards",
    "framework.tasks.export_results_task.export_to_csv",
    "framework.tasks.main_task.main_task",
    "framework.tasks.send_mails.send_mail",
    "framework.tasks.yara_task.yara_task",
]


def test_the_application_is_a_celery_called_celery():
    from framework.celery.celery import celery

    assert isinstance(celery, celery_itself.Celery)
    assert callable(celery.task)
    assert callable(celery.send_task)


def test_the_application_leaves_celery_its_name():
    assert import_module("framework.celery.celery").__name__ == "framework.celery.celery"
    assert celery_itself.__name__ == "celery"


def test_discovery_takes_an_optional_root():
    assert str(signature(framework.find_tasks_in_project)).startswith("(project_root:")
    assert signature(framework.find_tasks_in_project).parameters["project_root"].default is None


@pytest.mark.parametrize("name", framework.__all__)
def test_each_public_name_of_the_package_exists(name):
    assert hasattr(framework, name)
    assert name in dir(framework)


def test_an_unknown_name_of_the_package_is_an_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        framework.nonsense  # noqa: B018 - the access is the test


def test_importing_the_package_imports_no_celery():
    code = "import sys, framework; print('celery' in sys.modules, bool(framework.limits), 'celery' in sys.modules)"

    output = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert output.split() == ["False", "True", "True"]


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_called_by_its_module_path_and_function(name):
    module, function = name.rsplit(".", 1)

    assert getattr(import_module(module), function).name == name


def test_a_mail_can_be_sent_with_no_arguments_and_with_the_sender_alone():
    from framework.tasks.send_mails import send_mail

    takes = signature(send_mail.run)

    takes.bind()
    assert takes.bind("From my@my.com").arguments == {"sender": "From my@my.com"}
    assert list(takes.parameters) == ["sender", "subject", "text"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("BROKER_URL", "broker_url"),
        ("CELERY_IMPORTS", "imports"),
        ("CELERYBEAT_SCHEDULE", "beat_schedule"),
        ("CELERY_TASK_RESULT_EXPIRES", "result_expires"),
        ("CELERY_TIMEZONE", "timezone"),
        ("CELERY_ENABLE_UTC", "enable_utc"),
    ],
)
def test_an_old_name_of_a_setting_has_its_present_name(old, new):
    assert RENAMED[old] == new


def test_celery_s_own_command_takes_the_application():
    run = subprocess.run(
        [CELERY, "-A", "framework.celery.celery", "report"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    assert "framework.celery.loader.Loader" in run.stdout


def test_celery_s_own_worker_with_its_beat_lists_the_tasks(tmp_path):
    with worker(tmp_path, "-B", "--loglevel=info", "--schedule", str(tmp_path / "schedule")) as output:
        lines = list(lines_until("ready.", output))

    listed = {line.removeprefix("  . ").strip() for line in lines if line.startswith("  . ")}
    assert set(TASKS) <= listed


@contextmanager
def worker(folder, *options):
    """Start a worker as in the guide, in the root of the project, with its broker in ``folder``; return its output."""
    process = subprocess.Popen(
        [CELERY, "-A", "framework.celery.celery", "worker", "--pool=solo", *options],
        cwd=ROOT,
        env=os.environ | {"CELERY_BROKER_URL": f"sqlite:///{folder}/broker.db"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process.stdout
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def lines_until(end, output):
    """Yield the lines up to the one that ends with ``end``."""
    for line in output:
        yield line
        if line.rstrip().endswith(end):
            return
    pytest.fail(f"the worker ended before it printed {end!r}")
