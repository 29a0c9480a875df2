"""Runs the tests on every supported Python that is installed, and with the lowest versions of the dependencies.

``python tools/test_all.py [--list | --only NAME] [PYTEST ARGUMENTS]``; ``make test-all`` calls it. Each run has an
environment in ``.venvs``, which is reused until pyproject.toml changes; ``--only`` takes the name of its folder.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = ROOT / ".venvs"
STAMP = "installed-from"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = sorted(PROJECT["project"]["optional-dependencies"])


class Failed(Exception):
    """A command failed; its output has been printed."""


@dataclass(frozen=True)
class Run:
    """One run of the tests: on which Python, and with the lowest dependencies or the newest."""

    python: str
    lowest: bool = False

    @property
    def title(self) -> str:
        """The run as the summary names it."""
        return f"Python {self.python}, {'lowest' if self.lowest else 'newest'} dependencies"

    @property
    def name(self) -> str:
        """The name for ``--only``, such as ``3.12`` or ``3.11-lowest``."""
        return f"{self.python}-lowest" if self.lowest else self.python

    @property
    def folder(self) -> Path:
        """The folder of its environment."""
        return ENVIRONMENTS / self.name


def supported_pythons() -> list[str]:
    """Return the versions that pyproject's classifiers name, such as ``3.11``, oldest first."""
    classifiers = PROJECT["project"]["classifiers"]
    found = re.findall(r"^Programming Language :: Python :: (3\.\d+)$", "\n".join(classifiers), re.MULTILINE)
    return sorted(found, key=lambda version: int(version.partition(".")[2]))


def planned() -> list[Run]:
    """Return every run: each supported Python, and the oldest once more with the lowest dependencies."""
    versions = supported_pythons()
    return [Run(version) for version in versions] + [Run(versions[0], lowest=True)]


def find_python(version: str) -> str | None:
    """Return the path of a Python of that version that can make virtual environments."""
    return next((path for path in candidates(version) if is_usable(path, version)), None)


def candidates(version: str) -> Iterator[str]:
    """Yield the paths to try: this Python, those on the PATH, and those that pyenv installed."""
    yield sys.executable
    for folder in os.get_exec_path():
        if path := shutil.which(f"python{version}", path=folder):
            yield path
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"), reverse=True))


def is_usable(python: str, version: str) -> bool:
    """Run a Python and return whether it is that version: a shim of pyenv may exist and find nothing to start."""
    code = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.strip() == version


def prepare(run: Run, python: str) -> None:
    """Make the environment of a run, unless it was made from the same pyproject.toml.

    Raises:
        Failed: An installation failed.
    """
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    stamp = run.folder / STAMP
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"Installing into {run.folder.relative_to(ROOT)} ...", flush=True)
    uv("venv", "--quiet", "--clear", "--seed", "--python", python, str(run.folder))
    pins = lowest_versions(run) if run.lowest else []
    constraints = run.folder / "constraints.txt"
    constraints.write_text("".join(f"{pin}\n" for pin in pins))
    options = ["--quiet", "--python", str(run.folder), "--constraints", str(constraints), "--group", "test"]
    uv("pip", "install", *options, "--editable", f".[{','.join(EXTRAS)}]")
    stamp.write_text(wanted)


def lowest_versions(run: Run) -> list[str]:
    """Return a pin for each dependency of the library and of its extras, as ``name==version``.

    Packages that are test tools too, such as pytest, stay at their newest versions.
    """
    options = ["--quiet", "--no-header", "--no-annotate", "--resolution", "lowest-direct", "--all-extras"]
    lines = uv("pip", "compile", *options, "--python", str(run.folder), "pyproject.toml").split()
    pinned = names(direct_requirements()) - names(group("test"))
    return [pin for pin in lines if pin.partition("==")[0] in pinned]


def direct_requirements() -> Iterator[str]:
    """Yield the requirements of the library and of its extras."""
    yield from PROJECT["project"]["dependencies"]
    for lines in PROJECT["project"]["optional-dependencies"].values():
        yield from lines


def group(name: str) -> Iterator[str]:
    """Yield the requirements of a dependency group and of the groups it includes."""
    for entry in PROJECT["dependency-groups"][name]:
        if isinstance(entry, str):
            yield entry
        else:
            yield from group(entry["include-group"])


def names(requirements: Iterator[str]) -> set[str]:
    """Return the normalized names of the packages that are required without extras."""
    found = (re.fullmatch(r"([\w.-]+?)\s*([<>=!~;].*)?", line) for line in requirements)
    return {re.sub(r"[-_.]+", "-", match[1]).lower() for match in found if match}


def uv(*arguments: str) -> str:
    """Run uv and return its output.

    Raises:
        Failed: It failed.
    """
    command = [sys.executable, "-m", "uv", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise Failed
    return done.stdout


def test(run: Run, arguments: list[str]) -> str:
    """Run the tests in the environment of a run and return the outcome in a few words."""
    python = find_python(run.python)
    if python is None:
        print(f"{run.title}: skipped, there is no python{run.python} here.", flush=True)
        return "skipped"
    started = time.monotonic()
    try:
        prepare(run, python)
    except Failed:
        return "FAILED to install"
    print(f"--- {run.title}", flush=True)
    done = subprocess.run(
        [run.folder / "bin" / "python", "-m", "pytest", *arguments],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{run.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"},
        check=False,
    )
    took = f"{time.monotonic() - started:.0f} s"
    return f"FAILED after {took} (exit code {done.returncode})" if done.returncode else f"passed in {took}"


def main(arguments: list[str]) -> int:
    """Run the tests of each planned run, one after another; return 1 if a run failed or none passed."""
    runs = planned()
    match arguments:
        case ["--list"]:
            for run in runs:
                print(f"{run.name}: {find_python(run.python) or 'not installed'}")
            return 0
        case ["--only", name, *arguments]:
            runs = [run for run in runs if run.name == name]
    outcomes = {run.title: test(run, arguments) for run in runs}
    print("\nSummary")
    for title, outcome in outcomes.items():
        print(f"  {title}: {outcome}")
    passed = any(outcome.startswith("passed") for outcome in outcomes.values())
    failed = any(outcome.startswith("FAILED") for outcome in outcomes.values())
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
