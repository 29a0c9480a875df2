"""``make test-all``: the Pythons it finds, the versions it pins, and its summary."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "test_all.py"
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def script(monkeypatch):
    spec = importlib.util.spec_from_file_location("test_all", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "test_all", module)  # its data classes look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder_of_python(tmp_path):
    """A folder for the PATH, with a ``python3.99`` that runs a line of shell."""

    def make(line):
        shim = tmp_path / "python3.99"
        shim.write_text(f"#!/bin/sh\n{line}\n")
        shim.chmod(0o755)
        return tmp_path

    return make


@pytest.mark.parametrize("line", ["echo 'pyenv: python3.99: command not found' >&2; exit 127", "echo 3.98", "exit 1"])
def test_a_python_that_does_not_start_or_is_another_version_is_not_used(script, folder_of_python, monkeypatch, line):
    monkeypatch.setenv("PATH", str(folder_of_python(line)))

    assert script.find_python("3.99") is None


def test_a_python_on_the_path_and_one_of_pyenv_are_found(script, folder_of_python, tmp_path, monkeypatch):
    on_path = folder_of_python("echo 3.99") / "python3.99"
    of_pyenv = tmp_path / "pyenv/versions/3.99.1/bin/python3.99"
    of_pyenv.parent.mkdir(parents=True)
    of_pyenv.write_bytes(on_path.read_bytes())
    of_pyenv.chmod(0o755)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))

    monkeypatch.setenv("PATH", str(tmp_path))
    assert script.find_python("3.99") == str(on_path)
    monkeypatch.setenv("PATH", "/nowhere")
    assert script.find_python("3.99") == str(of_pyenv)
    assert script.find_python(HERE) == sys.executable


def test_a_missing_python_is_skipped_with_one_line(script, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")

    assert script.test(script.Run("3.99"), []) == "skipped"

    assert capsys.readouterr().out == "Python 3.99, newest dependencies: skipped, there is no python3.99 here.\n"


def test_an_installation_that_fails_is_the_outcome_of_its_run(script, monkeypatch):
    def fail(*_):
        raise script.Failed

    monkeypatch.setattr(script, "prepare", fail)

    assert script.test(script.Run(HERE), []) == "FAILED to install"


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        (["passed in 1 s", "skipped"], 0),
        (["FAILED after 1 s (exit code 1)", "passed in 1 s"], 1),
        (["FAILED to install", "passed in 1 s"], 1),
        (["skipped", "skipped"], 1),
    ],
)
def test_every_run_has_a_line_in_the_summary_and_a_failure_is_the_exit_code(
    script, monkeypatch, capsys, outcomes, code
):
    left = iter(outcomes)
    monkeypatch.setattr(script, "planned", lambda: [script.Run("3.98"), script.Run("3.99", lowest=True)])
    monkeypatch.setattr(script, "test", lambda *_: next(left))

    assert script.main(["tests/unit"]) == code

    assert capsys.readouterr().out == (
        "\nSummary\n"
        f"  Python 3.98, newest dependencies: {outcomes[0]}\n"
        f"  Python 3.99, lowest dependencies: {outcomes[1]}\n"
    )


def test_the_dependencies_are_pinned_and_the_test_tools_are_not(script, monkeypatch):
    compiled = "celery==5.7.0\nflask==3.0.0\nmarkupsafe==2.1.1\npytest==8.0.0\nwerkzeug==3.1.3\n"
    monkeypatch.setattr(script, "uv", lambda *_: compiled)

    pins = script.lowest_versions(script.Run(HERE, lowest=True))

    assert pins == ["celery==5.7.0", "flask==3.0.0", "markupsafe==2.1.1"]
