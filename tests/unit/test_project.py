"""The metadata in pyproject.toml, and the other files that must agree with it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from trove_classifiers import classifiers

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REPOSITORY = PROJECT["urls"]["Source"]
FILES_WITH_ADDRESS = [
    "CONTRIBUTING.md",
    "README.md",
    "README.es.md",
    "SECURITY.md",
    "docs/conf.py",
    "pyproject.toml",
    ".github/ISSUE_TEMPLATE/bug.yml",
    ".github/ISSUE_TEMPLATE/config.yml",
]


VERSION = PROJECT["version"]


def newest_heading():
    return re.search(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]


def test_the_newest_section_of_the_changelog_is_the_version():
    heading = re.fullmatch(r"(\d+\.\d+\.\d+) \((unreleased|\d{4}-\d\d-\d\d)\)", newest_heading())

    assert heading
    assert heading[1] == VERSION


def test_a_version_has_its_changes_under_the_usual_headings_each_once():
    for section in re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1:]:
        headings = re.findall(r"^### (.*)$", section, re.MULTILINE)

        assert headings
        assert len(headings) == len(set(headings))
        assert set(headings) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.mark.parametrize("name", FILES_WITH_ADDRESS)
def test_the_address_of_the_repository_is_the_same_everywhere(name):
    text = (ROOT / name).read_text() if (ROOT / name).exists() else ""
    addresses = re.findall(r"https://github\.com/[\w-]+/omstd-framework", text)
    repositories = re.findall(r"--repo ([\w-]+/omstd-framework)", text)

    assert set(addresses) <= {REPOSITORY}
    assert {f"https://github.com/{repository}" for repository in repositories} <= {REPOSITORY}


def test_each_url_is_below_the_repository():
    assert set(PROJECT["urls"]) == {"Homepage", "Documentation", "Source", "Issues", "Changelog"}
    assert [url for url in PROJECT["urls"].values() if not url.startswith(REPOSITORY)] == []


def test_each_classifier_is_one_that_pypi_knows():
    assert set(PROJECT["classifiers"]) <= classifiers


def test_a_release_needs_the_tag_of_its_version():
    run = subprocess.run(
        [sys.executable, ROOT / "tools" / "release.py", "notes", "v99.0.0"], capture_output=True, text=True, check=False
    )

    assert run.returncode == 1
    assert run.stderr == f"The tag is v99.0.0, and the version in pyproject.toml is {VERSION}: it must be v{VERSION}\n"


def test_the_notes_of_a_release_are_its_section_once_it_has_a_date():
    run = subprocess.run(
        [sys.executable, ROOT / "tools" / "release.py", "notes", f"v{VERSION}"],
        capture_output=True,
        text=True,
        check=False,
    )

    if "unreleased" in newest_heading():
        assert run.returncode == 1
        assert "it must be" in run.stderr
    else:
        assert run.returncode == 0
        assert "### " in run.stdout
