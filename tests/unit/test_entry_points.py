"""The entry points at the root: the files that a project has beside its tasks, short and without logic."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENTRY_POINTS = ["start.py", "celeryconfig.py", "utils.py"]


@pytest.fixture
def project(tmp_path):
    """A folder with the entry points of a project and one task package."""
    for name in ENTRY_POINTS:
        shutil.copy(ROOT / name, tmp_path)
    tasks = tmp_path / "shop" / "tasks"
    tasks.mkdir(parents=True)
    (tmp_path / "shop" / "__init__.py").touch()
    (tasks / "__init__.py").touch()
    (tasks / "send-invoices.py").write_text(
        "from framework.celery.celery import celery\n\n\n@celery.task\ndef send(): ...\n"
    )
    return tmp_path


def python(folder, code):
    """Run ``code`` in ``folder``, where a warning is an error, and return the words that it prints."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def test_the_configuration_names_rabbitmq_on_this_machine(project):
    code = "from framework.celery.celery import celery; print(celery.conf.broker_url)"

    assert python(project, code) == ["amqp://guest:guest@localhost:5672//"]


def test_the_configuration_adds_the_tasks_of_the_project_in_one_line(project):
    with (project / "celeryconfig.py").open("a") as config:
        config.write('\nfrom utils import find_tasks_in_project\n\nimports = find_tasks_in_project("shop")\n')

    found = python(project, "from framework.celery.celery import celery; print(*celery.loader.default_modules)")

    assert "shop.tasks.send-invoices" in found
    assert "framework.tasks.send_mails" in found


def test_start_does_nothing_when_it_is_only_imported(project):
    assert python(project, "import start") == []


@pytest.mark.parametrize("name", ["celeryconfig.py", "utils.py"])
def test_an_entry_point_has_no_logic(name):
    body = ast.parse((ROOT / name).read_bytes()).body

    assert {type(node) for node in body} <= {ast.Expr, ast.ImportFrom, ast.Assign}


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_an_entry_point_has_a_docstring(name):
    assert ast.get_docstring(ast.parse((ROOT / name).read_bytes()))
