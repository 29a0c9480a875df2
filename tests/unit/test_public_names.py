"""Public names: each that the guide or a README shows can be imported, and so can those that scripts use."""

import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "README.es.md"]
# Not after a letter, a slash or a dot, as in ``omstd-framework``, ``my.framework`` or a URL's host.
DOTTED = re.compile(r"(?<![\w./-])framework(?:\.[A-Za-z_]\w*)+")
IMPORT = re.compile(r"^ *from (framework[\w.]*) import ([\w, ]+)", re.MULTILINE)

#: Scripts import these; they stay where they are.
FROZEN = [
    "framework.Failures",
    "framework.Limit",
    "framework.State",
    "framework.Unique",
    "framework.celery.app.App",
    "framework.celery.celery.celery",
    "framework.failures.Failures",
    "framework.failures.once",
    "framework.find_tasks_in_project",
    "framework.limits.Limit",
    "framework.limits.Unique",
    "framework.progress.progress",
    "framework.progress.watch",
    "framework.schedule.Schedules",
    "framework.tasks.export_results_task.export_to_csv",
    "framework.tasks.main_task",
    "framework.tasks.send_mails.send_mail",
    "framework.tasks.yara_task.yara_task",
    "framework.testing",
    "framework.watch",
    "framework.web",
]

#: Modules that a page tells its reader to write, and a name with a typing mistake that a page shows the error of.
EXAMPLES = {
    "framework.tasks.check_links",
    "framework.tasks.hello",
    "framework.tasks.hola",
    "framework.tasks.send_mails.send_mial",
}


@cache
def names_of_pages():
    """Return each name, with the pages that have it."""
    found = {}
    for page in PAGES:
        for name in names_in(page.read_text(encoding="utf-8")):
            if not any(name == example or name.startswith(f"{example}.") for example in EXAMPLES):
                found.setdefault(name, set()).add(page.name)
    return found


def names_in(text):
    """Return the dotted names in a text, and those that its imports import."""
    imported = [f"{module}.{name.strip()}" for module, names in IMPORT.findall(text) for name in names.split(",")]
    return DOTTED.findall(text) + imported


def resolve(name):
    """Return the thing with this name: modules are imported, attributes are read, step by step."""
    found = import_module("framework")
    path = "framework"
    for part in name.split(".")[1:]:
        path = f"{path}.{part}"
        try:
            found = getattr(found, part)
        except AttributeError:
            try:
                found = import_module(path)
            except ModuleNotFoundError as exc:
                raise LookupError(f"{path} does not exist") from exc
    return found


@pytest.mark.parametrize("name", FROZEN)
def test_a_frozen_name_can_be_imported(name):
    assert resolve(name) is not None


def test_every_name_that_the_guide_shows_can_be_imported():
    missing = {}
    for name, pages in names_of_pages().items():
        try:
            resolve(name)
        except LookupError as exc:
            missing[name] = f"{exc}: {', '.join(sorted(pages))}"

    assert missing == {}


def test_the_guide_shows_many_names():
    assert len(names_of_pages()) > 80


@pytest.mark.parametrize("name", ["framework.nonsense", "framework.limits.Limt", "framework.limits.Limit.nonsense"])
def test_a_name_that_does_not_exist_is_noticed(name):
    with pytest.raises(LookupError, match=r"\.(nonsense|Limt) does not exist"):
        resolve(name)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{py:class}`~framework.limits.Limit`", ["framework.limits.Limit"]),
        (
            "from framework.errors import BadKey, OverLimit",
            ["framework.errors", "framework.errors.BadKey", "framework.errors.OverLimit"],
        ),
        ("from framework import Limit", ["framework.Limit"]),
        ("see `framework.tasks.hello.hello`.", ["framework.tasks.hello.hello"]),
        ("pip install omstd-framework.whl", []),
        ("the folder `.framework/`", []),
    ],
)
def test_a_name_is_found_in_the_text_around_it(text, found):
    assert names_in(text) == found
