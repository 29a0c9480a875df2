"""Checks of a release: ``python tools/release.py check dist`` and ``python tools/release.py notes v0.1.0``."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAME = PROJECT["name"].replace("-", "_")
VERSION: str = PROJECT["version"]
# The files that setuptools adds to a source archive.
GENERATED = {"PKG-INFO", "setup.cfg"}


class ReleaseError(Exception):
    """An error that must be fixed before the release."""


def check(folder: Path) -> None:
    """Compare the wheel and the source archive of this version with the files that git tracks.

    Raises:
        ReleaseError: The folder has other files, or a file is missing or too many in one of the two.
    """
    wheel, archive = folder / f"{NAME}-{VERSION}-py3-none-any.whl", folder / f"{NAME}-{VERSION}.tar.gz"
    if set(folder.iterdir()) != {wheel, archive}:
        found = ", ".join(sorted(file.name for file in folder.iterdir()))
        raise ReleaseError(f"{folder} must hold {wheel.name} and {archive.name} alone; it holds: {found}")
    tracked = git_files()
    library = {name for name in tracked if name.startswith("framework/")}
    compare(wheel, {name for name in names_in_wheel(wheel) if ".dist-info/" not in name}, library)
    compare(archive, {name for name in names_in_archive(archive) if not is_generated(name)}, tracked)


def compare(file: Path, found: set[str], wanted: set[str]) -> None:
    """Raise `ReleaseError` with each file that is missing or too many."""
    missing, unwanted = sorted(wanted - found), sorted(found - wanted)
    if missing or unwanted:
        raise ReleaseError(f"{file.name}: missing: {missing}; not tracked by git or not wanted: {unwanted}")


def git_files() -> set[str]:
    """Return the names of the files that git tracks."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    return set(done.stdout.split("\0")) - {""}


def names_in_wheel(file: Path) -> set[str]:
    """Return the names of the files in a wheel."""
    with zipfile.ZipFile(file) as wheel:
        return set(wheel.namelist())


def names_in_archive(file: Path) -> set[str]:
    """Return the names of the files in a source archive, below its own folder."""
    with tarfile.open(file) as archive:
        return {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}


def is_generated(name: str) -> bool:
    """Return whether setuptools made a file of a source archive."""
    return name in GENERATED or name.startswith(f"{NAME}.egg-info/")


def notes(tag: str) -> str:
    """Return the section of CHANGELOG.md for the version of a tag.

    Raises:
        ReleaseError: The tag is not the version in pyproject.toml, or its section is not the newest or has no date.
    """
    if tag != f"v{VERSION}":
        raise ReleaseError(f"The tag is {tag}, and the version in pyproject.toml is {VERSION}: it must be v{VERSION}")
    first = (ROOT / "CHANGELOG.md").read_text().split("\n## ")[1]
    heading, _, body = first.partition("\n")
    if not re.fullmatch(rf"{re.escape(VERSION)} \(\d{{4}}-\d\d-\d\d\)", heading):
        raise ReleaseError(f'The newest section of CHANGELOG.md is "{heading}": it must be "{VERSION} (YYYY-MM-DD)"')
    return body.strip()


def main(arguments: list[str]) -> int:
    """Run one of the two commands."""
    try:
        match arguments:
            case ["check", folder]:
                check(Path(folder))
            case ["notes", tag]:
                print(notes(tag))
            case _:
                print("Usage: release.py check FOLDER | release.py notes TAG", file=sys.stderr)
                return 2
    except ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
