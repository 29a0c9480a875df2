"""What the README tells a newcomer to type does what it says, in both languages."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
READMES = {"README.md": "Hello, Ann\nHello, Ben\n", "README.es.md": "Hola, Ana\nHola, Luis\n"}


@pytest.fixture
def project(tmp_path):
    """The library and the doors, in a folder where a newcomer may write."""
    shutil.copytree(ROOT / "framework", tmp_path / "framework", ignore=shutil.ignore_patterns("__pycache__"))
    for door in ("celeryconfig.py", "utils.py"):
        shutil.copy(ROOT / door, tmp_path)
    return tmp_path


@pytest.mark.parametrize(("readme", "greetings"), READMES.items())
def test_a_newcomer_writes_a_task_and_calls_it(project, readme, greetings):
    text = (ROOT / readme).read_text()
    task, script = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    place = re.search(r"`(framework/tasks/\w+\.py)`", text)[1]
    name = re.match(r"# (\w+\.py)\n", script)[1]
    (project / place).write_text(task)
    (project / name).write_text(script)

    listed = typed(project, "framework", "tasks")
    run = typed(project, *re.search(rf"^(framework up -- python {name})$", text, re.MULTILINE)[1].split())

    assert re.search(r"# .* (framework\.tasks\.\w+\.\w+)\n", text)[1] in listed.stdout
    assert run.returncode == 0, run.stderr
    assert greetings in run.stdout


def test_both_languages_name_the_same_commands():
    english, spanish = (commands((ROOT / readme).read_text()) for readme in READMES)

    assert english == spanish
    assert "make run" in english


@pytest.mark.parametrize("readme", READMES)
def test_every_make_target_and_file_it_names_exists(readme):
    text = (ROOT / readme).read_text()
    makefile = (ROOT / "Makefile").read_text()

    assert all(f"\n{target}:" in makefile for target in re.findall(r"make ([a-z]+)", text))
    assert all((ROOT / link).exists() for link in re.findall(r"\]\((\S+)\)", text))


def commands(text):
    """What the shell blocks say, without their comments and the name of the script that is called."""
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [re.sub(r"-- python \w+\.py", "-- python SCRIPT", line) for line in lines]


def typed(folder, *command):
    """What a command does in an activated environment."""
    bin_first = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": bin_first, "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
