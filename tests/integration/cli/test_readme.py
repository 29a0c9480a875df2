"""The commands in the README work as described, in both languages."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
READMES = {"README.md": "Hello, Ann\nHello, Ben\n", "README.es.md": "Hola, Ana\nHola, Luis\n"}


@pytest.fixture
def project(tmp_path):
    """The library and the project's files, in a writable folder."""
    shutil.copytree(ROOT / "framework", tmp_path / "framework", ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("celeryconfig.py", "utils.py"):
        shutil.copy(ROOT / file, tmp_path)
    return tmp_path


@pytest.mark.timeout(300)  # five programs in turn
@pytest.mark.parametrize(("readme", "greetings"), READMES.items())
def test_a_new_task_is_written_and_called(project, readme, greetings):
    text = (ROOT / readme).read_text()
    task, script = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    place = re.search(r"`(framework/tasks/\w+\.py)`", text)[1]
    name = re.match(r"# (\w+\.py)\n", script)[1]
    (project / place).write_text(task)
    (project / name).write_text(script)

    listed = run_in(project, "framework", "tasks")
    run = run_in(project, *re.search(rf"^(framework up -- python {name})$", text, re.MULTILINE)[1].split())

    assert re.search(r"# .* (framework\.tasks\.\w+\.\w+)\n", text)[1] in listed.stdout
    assert run.returncode == 0, run.stderr
    assert greetings in run.stdout


def test_both_languages_name_the_same_commands():
    english, spanish = (commands((ROOT / readme).read_text()) for readme in READMES)

    assert english == spanish
    assert "make run" in english


@pytest.mark.parametrize("readme", READMES)
def test_every_named_make_target_and_file_exists(readme):
    text = (ROOT / readme).read_text()
    makefile = (ROOT / "Makefile").read_text()

    assert all(f"\n{target}:" in makefile for target in re.findall(r"make ([a-z]+)", text))
    assert all((ROOT / link).exists() for link in re.findall(r"\]\((\S+)\)", text))


def commands(text):
    """The commands of the shell blocks, without comments and the name of the called script."""
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [re.sub(r"-- python \w+\.py", "-- python SCRIPT", line) for line in lines]


def run_in(folder, *command):
    """Run a command in an activated environment."""
    bin_first = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": bin_first, "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
