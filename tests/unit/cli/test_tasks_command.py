"""`framework tasks`: the list of tasks."""

import json
import subprocess
import sys

import pytest

CONFIG = """
from celery.schedules import crontab
imports = ["shop.tasks.orders"]
beat_schedule = {
    "nightly": {"task": "shop.tasks.orders.close", "schedule": crontab(minute=0, hour=4)},
    "often": {"task": "shop.tasks.orders.close", "schedule": 30},
}
"""
TASKS = '''
from framework.celery.celery import celery

@celery.task
def close(day: str = "today", *, force: bool = False) -> int:
    """Close the orders of a day.

    More about it.
    """

@celery.task(bind=True)
def find(self, argument_with_a_long_name: str, another_argument: str = "with a default", *more: str, end: bool = True):
    """Find."""

@celery.task(name="shop.short")
def no_words(): ...
'''


@pytest.fixture
def project(tmp_path):
    tasks = tmp_path / "shop/tasks"
    tasks.mkdir(parents=True)
    for package in (tasks, tasks.parent):
        (package / "__init__.py").touch()
    (tasks / "orders.py").write_text(TASKS)
    (tmp_path / "celeryconfig.py").write_text(CONFIG)
    return tmp_path


def tasks(folder, *options):
    run = subprocess.run(
        [sys.executable, "-m", "framework", "tasks", *options], cwd=folder, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_task_is_listed_with_its_signature_its_description_and_its_schedule(project):
    lines = tasks(project).splitlines()

    start = lines.index("shop.tasks.orders.close")
    assert lines[start + 1 : start + 5] == [
        "    (day: str = 'today', *, force: bool = False) -> int",
        "    Close the orders of a day.",
        "    crontab: 0 4 * * * (m/h/dM/MY/d) (nightly)",
        "    every 30 s (often)",
    ]


def test_the_list_is_sorted_fits_eighty_columns_and_has_no_task_of_celery(project):
    lines = tasks(project).splitlines()

    names = [line for line in lines if not line.startswith(" ")]
    assert names == sorted(names)
    assert names[-3:] == ["shop.short", "shop.tasks.orders.close", "shop.tasks.orders.find"]
    assert not any(name.startswith("celery.") for name in names)
    assert max(map(len, lines)) <= 80


def test_the_list_as_json(project):
    found = {task["name"]: task for task in json.loads(tasks(project, "--json"))}

    assert found["shop.tasks.orders.close"] == {
        "name": "shop.tasks.orders.close",
        "signature": "(day: str = 'today', *, force: bool = False) -> int",
        "doc": "Close the orders of a day.",
        "schedule": [
            {"entry": "nightly", "when": "crontab: 0 4 * * * (m/h/dM/MY/d)"},
            {"entry": "often", "when": "every 30 s"},
        ],
    }
    assert found["shop.tasks.orders.find"]["signature"].startswith("(argument_with_a_long_name: str")
    assert found["shop.short"]["doc"] == ""


def test_a_file_dropped_into_a_task_package_is_listed(project):
    with (project / "celeryconfig.py").open("a") as config:
        config.write("from framework.discovery import find_tasks_in_project\nimports = find_tasks_in_project('shop')\n")
    assert "zz-any" not in tasks(project)

    (project / "shop/tasks/zz-any.py").write_text(
        'from framework.celery.celery import celery\n@celery.task\ndef hi(): return "hi"\n'
    )

    assert "shop.tasks.zz-any.hi" in tasks(project)


def test_a_project_without_tasks_gets_instructions(tmp_path):
    (tmp_path / "empty.py").write_text("from celery import Celery\napp = Celery('empty')\n")

    run = subprocess.run(
        [sys.executable, "-m", "framework", "-A", "empty", "tasks"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "@celery.task" in run.stdout
