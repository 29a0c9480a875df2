"""The workflows and forms of .github: valid, and in agreement with the Makefile and pyproject.toml."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
SCHEMAS = {
    **dict.fromkeys(WORKFLOWS, "vendor.github-workflows"),
    GITHUB / "dependabot.yml": "vendor.dependabot",
    GITHUB / "ISSUE_TEMPLATE" / "bug.yml": "vendor.github-issue-forms",
    GITHUB / "ISSUE_TEMPLATE" / "feature.yml": "vendor.github-issue-forms",
    GITHUB / "ISSUE_TEMPLATE" / "config.yml": "vendor.github-issue-config",
}
CLASSIFIER = re.compile(r"Programming Language :: Python :: (3\.\d+)")

pytestmark = pytest.mark.skipif(not GITHUB.is_dir(), reason="a source archive without .github")


def name_of(path):
    return path.relative_to(GITHUB).as_posix()


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def supported_pythons():
    return [found[1] for line in project()["classifiers"] if (found := CLASSIFIER.fullmatch(line))]


def jobs():
    for workflow in WORKFLOWS:
        for name, job in yaml.safe_load(workflow.read_text())["jobs"].items():
            yield f"{workflow.name}: {name}", job


def steps():
    for name, job in jobs():
        for step in job.get("steps", ()):
            yield name, job, step


def pythons_of(job):
    """Yield the Python versions that a job names: in its matrix, in its container, or for setup-python."""
    yield from job.get("strategy", {}).get("matrix", {}).get("python", ())
    named = [
        job.get("container", ""),
        *(step.get("with", {}).get("python-version", "") for step in job.get("steps", ())),
    ]
    for text in named:
        yield from re.findall(r"(?:^|python:)(\d[\d.]*)", text)


def test_each_file_has_a_schema():
    assert set(SCHEMAS) == set(GITHUB.rglob("*.yml"))


@pytest.mark.parametrize("file", SCHEMAS, ids=name_of)
def test_a_file_agrees_with_its_schema(file):
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", SCHEMAS[file], str(file)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout


def test_each_make_target_exists():
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = [(name, step.get("run", "")) for name, _, step in steps()]
    used = {(name, target) for name, command in commands for target in re.findall(r"\bmake ([a-z0-9-]+)", command)}

    assert used
    assert [(name, target) for name, target in used if target not in targets] == []


def test_each_script_and_folder_exists():
    named = {
        path
        for _, _, step in steps()
        for path in re.findall(r"\b(?:tools|tests|framework)/[\w/.]+", step.get("run", ""))
    }

    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_each_run_of_test_all_exists():
    listed = subprocess.run(
        [sys.executable, ROOT / "tools" / "test_all.py", "--list"], capture_output=True, text=True, check=True
    ).stdout
    runs = {line.partition(":")[0] for line in listed.splitlines()}
    used = {run for _, _, step in steps() for run in re.findall(r"\bONLY=(\S+)", step.get("run", ""))}

    assert used
    assert used <= runs


def test_the_supported_pythons_begin_with_the_required_one_and_have_no_gap():
    minors = [int(version.removeprefix("3.")) for version in supported_pythons()]

    assert project()["requires-python"] == f">=3.{minors[0]}"
    assert minors == list(range(minors[0], minors[-1] + 1))


def test_the_tests_run_on_each_supported_python_and_no_job_on_another():
    named = {name: set(pythons_of(job)) for name, job in jobs()}

    assert named["tests.yml: linux"] == named["tests.yml: macos"] == set(supported_pythons())
    assert set().union(*named.values()) == set(supported_pythons())


def test_lowest_dependencies_are_tested_on_the_oldest_python():
    job = dict(jobs())["tests.yml: lowest"]

    assert set(pythons_of(job)) == {supported_pythons()[0]}


def test_each_action_is_pinned_to_a_version():
    used = [step["uses"] for _, _, step in steps() if "uses" in step]

    assert used
    assert [action for action in used if not re.search(r"@(v\d+|release/v\d+)$", action)] == []


def test_only_the_jobs_that_publish_may_write():
    for workflow in WORKFLOWS:
        assert yaml.safe_load(workflow.read_text())["permissions"] in ({}, {"contents": "read"})
    writing = {
        name: sorted(right for right, level in job.get("permissions", {}).items() if level == "write")
        for name, job in jobs()
    }

    assert {name: rights for name, rights in writing.items() if rights} == {
        "publish.yml: attest": ["attestations", "id-token"],
        "publish.yml: pypi": ["id-token"],
        "publish.yml: release": ["contents"],
    }


def test_a_checkout_leaves_no_token_behind():
    checkouts = [step for _, _, step in steps() if step.get("uses", "").startswith("actions/checkout@")]

    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_each_job_ends_in_time():
    assert [name for name, job in jobs() if "uses" not in job and "timeout-minutes" not in job] == []
