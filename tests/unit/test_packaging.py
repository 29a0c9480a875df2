"""The built and installed packages hold the library alone: wheel, source archive and editable install."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENTRY_POINTS = ["start", "utils", "celeryconfig"]
NOT_SOURCE = shutil.ignore_patterns(".*", "__pycache__", "_build", "build", "dist", "exports", "*.egg-info", "*.db*")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the source as in a new clone, because a build writes into it."""
    copy = tmp_path_factory.mktemp("source") / "project"
    shutil.copytree(ROOT, copy, ignore=NOT_SOURCE)
    if (ROOT / ".ci").is_dir():
        shutil.copytree(ROOT / ".ci", copy / ".ci")
    return copy


@pytest.fixture(scope="module")
def built(project, tmp_path_factory):
    """The folder with the source archive, and the wheel made from that archive."""
    folder = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, project, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def dependencies(tmp_path_factory):
    """A folder with all packages that are installed here, without the library."""
    folder = tmp_path_factory.mktemp("dependencies")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "omstd" not in entry.name and entry.suffix != ".pth":
            (folder / entry.name).symlink_to(entry)
    return folder


@pytest.fixture
def install(dependencies, tmp_path):
    """A function that installs the library into a new environment, offline, and returns its Python."""
    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path)
    python = environment / "bin" / "python"
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip()
    Path(site, "dependencies.pth").write_text(f"{dependencies}\n")

    def install(*arguments):
        pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install", "--quiet"]
        run(*pip, "--no-index", "--no-deps", "--no-build-isolation", *arguments, cwd=tmp_path)
        return python

    return install


def test_a_wheel_installs_the_library_alone(install, built, tmp_path):
    python = install(only_file(built, "*.whl"))

    assert_only_the_library_is_installed(python, tmp_path)


def test_a_source_archive_installs_the_library_alone(install, built, tmp_path):
    python = install(only_file(built, "*.tar.gz"))

    assert_only_the_library_is_installed(python, tmp_path)


def test_an_editable_install_finds_the_library_alone(install, project, tmp_path):
    python = install("--editable", project)

    assert_only_the_library_is_installed(python, tmp_path, library=project / "framework")


def test_an_install_has_the_command_and_the_subcommands_of_celery(install, built, tmp_path):
    python = install(only_file(built, "*.whl"))

    code = "from importlib.metadata import entry_points; print(*entry_points(group='celery.commands').names)"
    assert {"tasks", "up"} <= set(run(python, "-c", code, cwd=tmp_path).split())
    assert os.access(python.with_name("framework"), os.X_OK)


def test_a_wheel_holds_the_library_and_its_data(built, project):
    with zipfile.ZipFile(only_file(built, "*.whl")) as wheel:
        names = set(wheel.namelist())

    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"framework"}
    assert {name for name in names if name.startswith("framework/")} == set(files_of(project, "framework"))
    assert "framework/py.typed" in names
    assert any(name.startswith("framework/contrib/templates/") for name in names)


def test_a_source_archive_holds_the_project(built, project):
    with tarfile.open(only_file(built, "*.tar.gz")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert {f"{name}.py" for name in ENTRY_POINTS} <= names
    assert {"README.md", "README.es.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "Makefile"} <= names
    for folder in ("framework", "tests", "docs", "samples", ".ci"):
        assert set(files_of(project, folder)) <= names


def assert_only_the_library_is_installed(python, tmp_path, library=None):
    """Assert that the library and Celery can be imported from an empty folder, and no entry point of the project."""
    empty = tmp_path / "empty"
    empty.mkdir()
    code = "import framework.celery.celery as ours, celery; print(ours.__file__, ours.celery.__class__.__mro__[1])"
    file, parent = run(python, "-W", "error", "-c", code, cwd=empty).split(maxsplit=1)

    assert Path(file).is_relative_to(library or python.parents[1])
    assert parent.strip() == "<class 'celery.app.base.Celery'>"
    for name in ENTRY_POINTS:
        missing = subprocess.run([python, "-c", f"import {name}"], cwd=empty, capture_output=True, text=True)
        assert f"ModuleNotFoundError: No module named '{name}'" in missing.stderr


def files_of(project, folder):
    return [
        str(file.relative_to(project))
        for file in (project / folder).rglob("*")
        if file.is_file() and file.suffix not in (".mo", ".pyc")
    ]


def only_file(folder, pattern):
    (found,) = folder.glob(pattern)
    return found


def run(*command, cwd):
    """Run a command that must succeed, and return its output."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
