"""The doors at the root: what a project has of its own, thin enough to be read at one sitting."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOORS = ["start.py", "celeryconfig.py", "utils.py"]


@pytest.fixture
def project(tmp_path):
    """A project with its doors and one task package, in a folder of its own."""
    for door in DOORS:
        shutil.copy(ROOT / door, tmp_path)
    tasks = tmp_path / "shop" / "tasks"
    tasks.mkdir(parents=True)
    (tmp_path / "shop" / "__init__.py").touch()
    (tasks / "__init__.py").touch()
    (tasks / "send-invoices.py").write_text(
        "from framework.celery.celery import celery\n\n\n@celery.task\ndef send(): ...\n"
    )
    return tmp_path


def python(folder, code):
    """What Python prints for ``code`` in ``folder``, where a warning is an error."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def test_the_configuration_names_rabbitmq_on_this_machine(project):
    ask = "from framework.celery.celery import celery; print(celery.conf.broker_url)"

    assert python(project, ask) == ["amqp://guest:guest@localhost:5672//"]


def test_the_configuration_adds_the_tasks_of_the_project_in_one_line(project):
    with (project / "celeryconfig.py").open("a") as config:
        config.write('\nfrom utils import find_tasks_in_project\n\nimports = find_tasks_in_project("shop")\n')

    found = python(project, "from framework.celery.celery import celery; print(*celery.loader.default_modules)")

    assert "shop.tasks.send-invoices" in found
    assert "framework.tasks.send_mails" in found


def test_start_does_nothing_when_it_is_only_imported(project):
    assert python(project, "import start") == []


@pytest.mark.parametrize("door", ["celeryconfig.py", "utils.py"])
def test_a_door_holds_no_logic(door):
    body = ast.parse((ROOT / door).read_bytes()).body

    assert {type(node) for node in body} <= {ast.Expr, ast.ImportFrom, ast.Assign}


@pytest.mark.parametrize("door", DOORS)
def test_a_door_says_what_it_is_for(door):
    assert ast.get_docstring(ast.parse((ROOT / door).read_bytes()))
