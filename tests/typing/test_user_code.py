"""The types of user code: correct code has no error, and each mistake is reported at its line."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PROJECT = HERE / "project"
MARKED = {"mistakes.py"}
MYPY, PYRIGHT = 0, 1


def expected(tool):
    """Return the file, line and rule of each ``# expect: MYPY'S RULES / PYRIGHT'S RULES``; commas separate rules."""
    return {
        (file.name, number, rule.strip())
        for file in PROJECT.glob("*.py")
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if (marker := re.search(r"# expect: ([^#]*)", line))
        for rule in marker[1].split("/")[tool].split(",")
    }


@pytest.fixture(scope="module")
def found_by_mypy():
    options = ["--strict", "--follow-imports=silent", "--config-file=", "--output=json"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(PROJECT)],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": str(HERE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    errors = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {
        (Path(error["file"]).name, error["line"], error["code"]) for error in errors if error["severity"] == "error"
    }


@pytest.fixture(scope="module")
def found_by_pyright(tmp_path_factory):
    config = tmp_path_factory.mktemp("pyright") / "pyrightconfig.json"
    settings = {"include": [str(PROJECT)], "extraPaths": [str(ROOT), str(HERE)], "typeCheckingMode": "strict"}
    config.write_text(json.dumps(settings))
    done = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable, "--project", config],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    errors = json.loads(done.stdout)["generalDiagnostics"]
    return {(Path(error["file"]).name, error["range"]["start"]["line"] + 1, error["rule"]) for error in errors}


def test_mypy_accepts_correct_code_and_reports_each_mistake_at_its_line(found_by_mypy):
    assert found_by_mypy == expected(MYPY)


def test_pyright_accepts_correct_code_and_reports_each_mistake_at_its_line(found_by_pyright):
    assert found_by_pyright == expected(PYRIGHT)


def test_only_the_files_of_mistakes_have_markers():
    assert {file for file, _, _ in expected(MYPY) | expected(PYRIGHT)} == MARKED
