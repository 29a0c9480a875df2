"""The command `framework`: Celery's commands with the framework's application, and errors in one line."""

import os
import pty
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

from framework.cli.command import CELERYS, OURS, Commands, command, complete

DIST = "omstd-framework"
BIN = Path(sys.executable).parent
FRAMEWORK = [BIN / "framework"]
CELERY = [BIN / "celery", "-A", "framework.celery.celery"]
MODULE = [sys.executable, "-m", "framework"]


@pytest.fixture
def run_command(tmp_path, monkeypatch):
    """Run a command line in the project's folder."""
    # No command reaches a real broker.
    monkeypatch.setenv("CELERY_BROKER_URL", "memory://")

    def run(command, *args):
        return subprocess.run([*command, *args], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=90)

    return run


@pytest.fixture
def module(tmp_path):
    """Write a module of the task package `shop.tasks`, which the configuration includes."""
    tasks = tmp_path / "shop/tasks"
    tasks.mkdir(parents=True)
    for package in (tasks, tasks.parent):
        (package / "__init__.py").touch()
    (tmp_path / "celeryconfig.py").write_text(
        "from framework.discovery import find_tasks_in_project\nimports = find_tasks_in_project('shop')\n"
    )

    def write(name, source):
        (tasks / name).write_text(source)
        return tasks / name

    return write


@pytest.mark.parametrize("command", [FRAMEWORK, MODULE], ids=["framework", "python -m framework"])
def test_help_lists_the_commands(run_command, command):
    run = run_command(command, "--help")

    lines = run.stdout.splitlines()
    assert run.returncode == 0
    assert lines[0].startswith("Usage: framework ")
    assert lines[2].strip().startswith("Tasks that are not lost")
    assert {"worker", "beat", "inspect", "call", "tasks", "up"} <= {line.split()[0] for line in lines if line.strip()}
    assert max(map(len, lines)) <= 80


def test_the_version_names_framework_and_celery(run_command):
    run = run_command(FRAMEWORK, "--version")

    assert run.stdout == f"framework {version('omstd-framework')}, Celery {version('celery')} (collider)\n"


def test_each_command_of_celery_and_its_plugins_is_a_command():
    assert {name for name in Commands().list_commands(None) if name not in OURS} == set(complete().commands) - set(OURS)


def test_the_commands_of_celery_that_are_imported_alone_are_those_of_its_command_line():
    for name in CELERYS:
        assert Commands().get_command(None, name) is complete().commands[name], name


def test_the_commands_of_the_framework_are_those_that_it_adds_to_celery_s_command_line():
    added = {point.name: point.load() for point in entry_points(group="celery.commands") if point.dist.name == DIST}

    assert {"result", *added} == set(OURS)
    for name, expected in added.items():
        assert Commands().get_command(None, name) is expected, name


def test_each_option_of_celery_is_an_option():
    def taken(params):
        return {param.name: (param.opts, param.is_flag, param.envvar) for param in params}

    theirs = taken(complete().params)
    theirs["app"] = (["-A", "--app"], False, "CELERY_APP")

    assert taken(command.params) == theirs


def test_a_command_is_called_without_importing_the_others():
    code = "import sys, framework.cli.command as c; c.Commands().get_command(None, 'worker'); print(*sys.modules)"

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "celery.bin.worker" in run.stdout.split()
    assert not {"celery.bin.celery", "prompt_toolkit", "flower", "framework.cli.failed"} & set(run.stdout.split())


def test_a_mistyped_command_suggests_the_right_one(run_command):
    run = run_command(FRAMEWORK, "wroker")

    assert run.returncode == 2
    assert "worker" in run.stderr


def test_the_default_application_is_the_framework_s_with_the_project_of_the_folder(run_command, module):
    module("any.py", "from framework.celery.celery import celery\n\n@celery.task\ndef hi(): ...\n")

    run = run_command(FRAMEWORK, "report")

    assert run.returncode == 0
    assert "framework.celery.loader.Loader" in run.stdout
    assert "shop.tasks.any" in run.stdout


def test_another_application_can_be_named(run_command, tmp_path):
    (tmp_path / "other.py").write_text(
        "from celery import Celery\napp = Celery('other')\n\n@app.task\ndef theirs(): ...\n"
    )

    by_option = run_command(FRAMEWORK, "-A", "other", "tasks")
    by_variable = run_command(["env", "CELERY_APP=other", *FRAMEWORK], "tasks")

    assert by_option.stdout.splitlines()[0] == "other.theirs"
    assert by_variable.stdout == by_option.stdout


def test_the_application_that_cannot_be_imported_is_named_with_the_cause(run_command, tmp_path):
    (tmp_path / "broken.py").write_text("import os\n\nno_such_name\n")
    (tmp_path / "syntax.py").write_text("def (\n")

    def line(app):
        return one_line(run_command(FRAMEWORK, "-A", app, "tasks")).removeprefix("Error: The application ")

    fix = "-A takes MODULE or MODULE:NAME, as seen from the project's folder (--workdir)."
    assert line("no_such_app") == (
        f"no_such_app cannot be imported: ModuleNotFoundError: No module named 'no_such_app'. {fix}"
    )
    assert line("framework:shop") == (
        f"framework:shop cannot be imported: AttributeError: module 'framework' has no attribute 'shop'. {fix}"
    )
    assert line("broken") == (
        f"broken cannot be imported ({tmp_path}/broken.py, line 3): NameError: name 'no_such_name' is not defined."
    )
    assert line("syntax").startswith(f"syntax cannot be imported ({tmp_path}/syntax.py, line 1): SyntaxError: ")


def test_the_application_after_the_command_is_refused_with_the_right_order(run_command):
    run = run_command(FRAMEWORK, "worker", "-A", "shop")

    assert run.returncode == 2
    assert run.stderr.endswith("Error: -A stands before the command: framework -A APPLICATION worker\n")


def test_the_options_that_an_application_adds_to_commands_are_taken(run_command, tmp_path):
    (tmp_path / "other.py").write_text(
        "import click\nfrom celery import Celery, signals\n"
        "app = Celery('other')\n"
        "app.user_options['preload'].add(click.Option(['--shop']))\n"
        "@signals.user_preload_options.connect\n"
        "def show(options, **_):\n"
        "    print('shop', options['shop'])\n"
        "    raise SystemExit\n"
    )

    run = run_command(FRAMEWORK, "-A", "other", "worker", "--shop=Lima")

    assert run.stdout == "shop Lima\n", run.stderr


def test_the_folder_that_workdir_names_is_the_project(run_command, tmp_path, module):
    module("any.py", "from framework.celery.celery import celery\n\n@celery.task\ndef hi(): ...\n")
    elsewhere = ["env", "-C", "/", *FRAMEWORK]

    run = run_command(elsewhere, "--workdir", str(tmp_path), "tasks")

    assert "shop.tasks.any.hi" in run.stdout


def one_line(run):
    """The error of a command that failed and printed nothing else."""
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    errors = [line for line in run.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, run.stderr
    assert run.stderr.endswith(f"{errors[0]}\n")
    return errors[0]


@pytest.mark.parametrize(
    "command",
    [(FRAMEWORK, "worker"), (FRAMEWORK, "beat"), (FRAMEWORK, "tasks"), (CELERY, "worker")],
    ids=["framework worker", "framework beat", "framework tasks", "celery worker"],
)
class TestErrorsAreOneLine:
    def test_a_broken_task_module(self, run_command, module, command):
        file = module("broken.py", "import os\n\ndef def\n")

        assert one_line(run_command(*command)) == (
            f"Error: The task module shop.tasks.broken cannot be imported ({file}, line 3): "
            "SyntaxError: invalid syntax (broken.py, line 3)"
        )

    def test_two_tasks_with_one_name(self, run_command, module, command):
        source = "from framework.celery.celery import celery\n\n@celery.task(name='hi')\ndef {}(): ...\n"
        for name in ("first", "second"):
            module(f"{name}.py", source.format(name))

        line = one_line(run_command(*command))

        assert line.startswith("Error: Two tasks are called 'hi': ")
        assert "first.py, line 3" in line
        assert "second.py, line 3" in line

    def test_an_unknown_setting(self, run_command, tmp_path, command):
        (tmp_path / "celeryconfig.py").write_text("task_ack_late = True\n")

        assert "'task_ack_late' is not a setting. Did you mean 'task_acks_late'?" in one_line(run_command(*command))

    def test_a_configuration_that_cannot_be_read(self, run_command, tmp_path, command):
        (tmp_path / "celeryconfig.py").write_text("import no_such_module\n")

        line = one_line(run_command(*command))

        assert line.startswith("Error: The configuration celeryconfig cannot be read (")
        assert line.endswith("): ModuleNotFoundError: No module named 'no_such_module'")

    def test_a_configuration_that_is_missing(self, run_command, command):
        program, *args = command

        run = run_command(["env", "CELERY_CONFIG_MODULE=no_such_config", *program], *args)

        assert "no_such_config" in one_line(run)


def test_a_framework_error_at_the_import_of_another_application_is_one_line(run_command, tmp_path):
    (tmp_path / "other.py").write_text(
        "from framework.discovery import find_tasks_in_project\nfind_tasks_in_project('no-such-folder')\n"
    )

    assert "find_tasks_in_project('no-such-folder')" in one_line(run_command(FRAMEWORK, "-A", "other", "tasks"))


def test_calling_a_task_that_does_not_exist_is_one_line(run_command):
    assert "No task is called 'framework.tasks.main_tusk'" in one_line(
        run_command(FRAMEWORK, "call", "framework.tasks.main_tusk")
    )


def test_calling_a_task_without_a_broker_is_one_line(run_command):
    run = run_command(FRAMEWORK, "-b", "amqp://127.0.0.1:1//", "call", "framework.tasks.main_task.main_task")

    assert "amqp://127.0.0.1:1//" in one_line(run)


def test_a_broker_that_is_down_is_one_line_in_celery_s_commands(run_command):
    run = run_command(FRAMEWORK, "-b", "amqp://ann:secret@127.0.0.1:1//", "purge", "-f")

    line = one_line(run)
    assert line.startswith(
        "Error: The broker amqp://ann:**@127.0.0.1:1// cannot be used: [Errno 111] Connection refused"
    )


@pytest.mark.parametrize(("variables", "styled"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_that_wants_no_color_gets_no_bold_either(tmp_path, monkeypatch, variables, styled):
    """Section D."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    terminal, program_side = pty.openpty()
    command = subprocess.Popen([*FRAMEWORK, "tasks"], cwd=tmp_path, stdout=program_side, stderr=program_side)
    os.close(program_side)

    output = b""
    with suppress(OSError):
        while data := os.read(terminal, 4096):
            output += data
    os.close(terminal)

    assert command.wait(60) == 0
    assert b"main_task" in output
    assert (b"\x1b[" in output) is styled


def test_a_result_over_rpc_is_refused_at_once_instead_of_waiting_for_ever(run_command):
    """Section D."""
    run = run_command(FRAMEWORK, "result", "the-id")

    assert run.returncode == 1
    assert "goes to the process that called the task" in run.stderr
    assert "framework watch the-id" in run.stderr


@pytest.mark.parametrize("arguments", [["call", "framework.tasks.main_task.main_task"], ["worker", "-c1"], ["doctor"]])
def test_redis_as_a_broker_is_refused_in_one_line(run_command, monkeypatch, arguments):
    """Section D."""
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://:secret@localhost:1/0")

    run = run_command(FRAMEWORK, *arguments)

    assert run.returncode == 1
    assert "The broker 'redis' is not supported" in run.stderr + run.stdout
    assert "Traceback" not in run.stderr
    assert "secret" not in run.stderr + run.stdout
