"""The house has floors: a module imports only from the rooms before its own."""

import ast
from pathlib import Path

import pytest

import framework

LIBRARY = Path(framework.__file__).parent
DOORS = {"start", "celeryconfig", "utils"}

# Every module and package that is not named on a floor is a feature.
FEATURES = "features"
# From the ground up. The empty name is ``framework`` itself: a table of contents of the rooms below it.
FLOORS = [
    {"errors"},
    {"config", "discovery"},
    {""},
    {"broker"},
    {FEATURES},
    {"celery", "schedule"},
    {"tasks"},
    {"web", "cli", "testing"},
    {"__main__"},
]
FLOOR_OF = {room: number for number, floor in enumerate(FLOORS) for room in floor}


def test_a_module_imports_only_from_the_rooms_before_its_own():
    wrong = [
        f"{module} imports {imported}"
        for module, source in modules()
        for imported in imports(source)
        if not may_import(module, imported)
    ]

    assert wrong == []


def test_imports_are_absolute():
    relative = [module for module, source in modules() if any(is_relative(node) for node in ast.walk(source))]

    assert relative == []


def test_the_library_does_not_know_the_doors_of_the_project():
    knowing = [module for module, source in modules() if DOORS & {name.split(".")[0] for name in imports(source)}]

    assert knowing == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("framework.errors", "from framework.config import DEFAULTS"),
        ("framework.errors", "from framework import config"),
        ("framework.config", "import framework.discovery"),
        ("framework.broker.sqlite.transport", "import framework.celery.app"),
        ("framework.mail", "from framework.celery.celery import celery"),
        ("framework.celery.app", "def late(): import framework.tasks"),
        ("framework.tasks.send_mails", "from framework.testing.mailbox import Mailbox"),
        ("framework.testing.mailbox", "from framework.cli import main"),
        ("framework.errors", "from framework import find_tasks_in_project"),
        ("framework", "from framework import mail"),
    ],
)
def test_an_import_from_a_later_or_neighbouring_room_is_noticed(module, line):
    assert [name for name in imports(ast.parse(line)) if not may_import(module, name)]


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("framework.errors", "import click"),
        ("framework.celery.app", "from framework import broker"),
        ("framework.celery.app", "from framework.celery.calling import publishing"),
        ("framework.mail", "from framework import environment"),
        ("framework.tasks.send_mails", "from framework import mail"),
        ("framework.cli", "from framework import __version__"),
        ("framework.__main__", "from framework.cli import main"),
    ],
)
def test_an_import_from_a_room_before_is_none_of_our_business(module, line):
    assert all(may_import(module, name) for name in imports(ast.parse(line)))


def modules():
    """The dotted name and the parsed source of every module of the library."""
    for file in sorted(LIBRARY.rglob("*.py")):
        parts = file.relative_to(LIBRARY.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), ast.parse(file.read_bytes())


def imports(source):
    """The modules that a source imports, also inside its functions."""
    for node in ast.walk(source):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "framework":
            yield from (module_called(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module


def module_called(name):
    """What ``from framework import name`` needs: a room, or the table of contents."""
    is_module = (LIBRARY / name).is_dir() or (LIBRARY / f"{name}.py").is_file()
    listed = name in framework.__all__ and not is_module
    return "framework" if listed else f"framework.{name}"


def may_import(module, imported):
    room, other = room_of(module), room_of(imported)
    return other is None or room == other or FLOOR_OF[other] < FLOOR_OF[room]


def room_of(module):
    """The room a module is in; None for what is not ours."""
    top, *rest = module.split(".")
    room = "".join(rest[:1])
    return None if top != "framework" else room if room in FLOOR_OF else FEATURES


def is_relative(node):
    return isinstance(node, ast.ImportFrom) and node.level > 0
