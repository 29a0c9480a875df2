"""The layers of the library: a module imports only from the layers below its own, and no imports form a circle."""

import ast
from pathlib import Path

import pytest

import framework

LIBRARY = Path(framework.__file__).parent
ENTRY_POINTS = {"start", "celeryconfig", "utils"}

# From the lowest up; packages of one layer do not import each other. The empty name is ``framework`` itself, which
# lists the packages and imports each when it is used.
LAYERS = [
    {"errors"},
    {"config", "discovery"},
    {""},
    {"broker"},
    {"limits", "progress", "failures", "schedule", "contrib"},
    {"celery"},
    {"tasks"},
    {"web", "cli", "testing"},
    {"__main__"},
]
LAYER_OF = {package: number for number, layer in enumerate(LAYERS) for package in layer}

# Modules that import nothing of the library, and may be imported by every layer.
FREE = {"framework.celery.compat", "framework.broker.deadline"}

# Inside a package: the lower part imports nothing of the upper one.
BELOW = {"framework.broker.sqlite": "framework.broker"}

MOST_PACKAGES = 14


def test_the_library_has_at_most_fourteen_packages_and_two_modules():
    packages = {folder.name for folder in LIBRARY.iterdir() if (folder / "__init__.py").is_file()}
    modules = {file.name for file in LIBRARY.glob("*.py")}

    assert len(packages) <= MOST_PACKAGES
    assert modules == {"__init__.py", "__main__.py", "config.py"}


def test_every_package_has_its_layer():
    tops = {top_of(module) for module in graph()}

    assert tops == set(LAYER_OF)


def test_a_module_imports_only_from_the_layers_below_its_own():
    found = [
        f"{module} imports {imported}"
        for module, all_imported in graph().items()
        for imported in all_imported
        if not may_import(module, imported)
    ]

    assert found == []


def test_no_modules_import_each_other_in_a_circle():
    assert circles(graph()) == []


def test_imports_are_absolute():
    relative = [module for module, source in modules() if any(is_relative(node) for node in ast.walk(source))]

    assert relative == []


def test_the_library_imports_no_entry_point_of_the_project():
    found = [
        module
        for module, source in modules()
        if ENTRY_POINTS & {name.split(".")[0] for name in imports(source, set(graph()))}
    ]

    assert found == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("framework.errors.base", "from framework.config import DEFAULTS"),
        ("framework.errors.base", "from framework import config"),
        ("framework.config", "import framework.discovery"),
        ("framework.broker.sqlite.transport", "import framework.celery.app"),
        ("framework.broker.sqlite.transport", "from framework.broker.request import request"),
        ("framework.broker.request", "from framework.broker.sqlite.channel import Channel"),
        ("framework.limits.limit", "from framework.progress import progress"),
        ("framework.progress.steps", "from framework.failures.recorder import record_failure"),
        ("framework.schedule.leader", "from framework.limits.tokens import exclusive_lock"),
        ("framework.contrib.mail", "from framework.celery.celery import celery"),
        ("framework.celery.app", "def late(): import framework.tasks"),
        ("framework.celery.compat", "from framework.celery.app import App"),
        ("framework.broker.deadline", "from framework.broker.request import request"),
        ("framework.tasks.send_mails", "from framework.testing.mailbox import Mailbox"),
        ("framework.testing.mailbox", "from framework.cli import main"),
        ("framework.errors.base", "from framework import find_tasks_in_project"),
        ("framework", "from framework import contrib"),
    ],
)
def test_an_import_from_above_or_beside_is_found(module, line):
    assert [name for name in imports(ast.parse(line), set(graph())) if not may_import(module, name)]


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("framework.errors.base", "import click"),
        ("framework.celery.app", "from framework import broker"),
        ("framework.celery.app", "from framework.celery.calls import resolve_call"),
        ("framework.progress.publisher", "from framework.celery import compat"),
        ("framework.contrib.mail", "from framework.contrib import env"),
        ("framework.tasks.send_mails", "from framework.contrib import mail"),
        ("framework.cli.command", "from framework import __version__"),
        ("framework.__main__", "from framework.cli import main"),
    ],
)
def test_an_import_from_below_or_from_elsewhere_is_allowed(module, line):
    assert all(may_import(module, name) for name in imports(ast.parse(line), set(graph())))


def test_a_circle_of_modules_is_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def modules():
    """Yield the dotted name and the parsed source of each module of the library."""
    for file in sorted(LIBRARY.rglob("*.py")):
        parts = file.relative_to(LIBRARY.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), ast.parse(file.read_bytes())


def graph():
    """Return the modules of the library, each with those that it imports, also inside functions and for types alone."""
    if not _graph:
        sources = dict(modules())
        for module, source in sources.items():
            if module == "framework":  # it imports its exports when they are used, and above for type checkers
                source.body = [node for node in source.body if not is_for_types(node)]
            _graph[module] = {name for name in imports(source, set(sources)) if name != module}
    return _graph


_graph = {}


def imports(source, known):
    """Yield the modules that a source imports."""
    for node in ast.walk(source):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield module if module in known else node.module


def may_import(module, imported):
    here, there = top_of(module), top_of(imported)
    if there is None or imported in FREE:
        return True
    if module in FREE:
        return False
    if here == there:
        return is_allowed_inside(module, imported)
    return LAYER_OF[there] < LAYER_OF[here]


def is_allowed_inside(module, imported):
    """Return whether a module may import one of its package: the embedded broker and its clients stay apart."""
    for below, above in BELOW.items():
        inside = [name == below or name.startswith(f"{below}.") for name in (module, imported)]
        if any(inside) and not all(inside):
            return module == above
    return True


def top_of(module):
    """Return the package that a module is in; None outside of the library."""
    top, *rest = module.split(".")
    return None if top != "framework" else "".join(rest[:1])


def circles(edges):
    """Return the groups of modules that can reach each other."""
    reach = {module: reachable(module, edges) for module in edges}
    groups = {tuple(sorted(other for other in reach[module] if module in reach.get(other, ()))) for module in edges}
    return sorted(list(group) for group in groups if group)


def reachable(start, edges):
    found, pending = set(), [start]
    while pending:
        for module in edges.get(pending.pop(), ()):
            if module not in found:
                found.add(module)
                pending.append(module)
    return found


def is_for_types(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def is_relative(node):
    return isinstance(node, ast.ImportFrom) and node.level > 0
