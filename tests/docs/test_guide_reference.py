"""The reference is complete: every public name, setting, command, option and error is described."""

import ast
import inspect
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from itertools import chain
from json import encoder
from pathlib import Path
from pkgutil import walk_packages

import billiard
import celery
import click
import kombu
import pytest
from celery.app.defaults import DEFAULTS as CELERYS
from celery.app.defaults import SETTING_KEYS

import framework
from framework.cli.command import command
from framework.config import DEFAULTS, settings_from
from framework.errors import FrameworkError

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples" / "reference"
FENCE = re.compile(r"^(`{3,})\{(?P<kind>[\w-]+)\} *(?P<argument>.*?)\n(?P<content>.*?)^\1$", re.DOTALL | re.MULTILINE)
CONTRIB = ("mail", "yara_scan", "csv_export", "database", "accounts", "cards")
PUBLIC = [
    *(f"framework.{name}" for name in framework.__all__ if inspect.ismodule(getattr(framework, name))),
    *(f"framework.contrib.{name}" for name in ("mail", "yara_scan", "csv_export")),
    *("framework.web.flask", "framework.web.asgi", "framework.web.tokens", "framework.web.core"),
    *("framework.testing.worker", "framework.testing.mailbox", "framework.testing.rabbitmq_cluster"),
]
# For the library's own packages.
INTERNAL = {
    "framework.config.LAUNCHER_FD_VARIABLE",
    "framework.config.READY_FD_VARIABLE",
    "framework.config.prefix_of",
    "framework.errors.describe",
    "framework.errors.location",
    "framework.testing.worker.BROKER_VARIABLES",
    "framework.web.core.SocketShares",
}


@pytest.fixture(scope="module")
def extension():
    sys.path.insert(0, str(DOCS / "extensions"))
    yield import_module("reference")
    sys.path.remove(str(DOCS / "extensions"))


@cache
def page(name):
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def blocks(name, kind):
    """Return the argument and the content of each directive of a kind on a page."""
    return {found["argument"]: found["content"] for found in FENCE.finditer(page(name)) if found["kind"] == kind}


# Names of Python.


@cache
def described():
    """Return the full names of everything that a page describes."""
    names = set()
    for path in DOCS.glob("*.md"):
        module = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            if found := re.match(r"\.\. py:(?:current)?module:: (\S+)", line):
                module = found[1]
            elif found := re.match(r"\.\. py:data:: (\S+)", line):
                names.add(f"{module}.{found[1]}")
            elif found := re.match(r"\.\. auto(class|function|data|exception|task):: (\S+)", line):
                names.add(found[2])
        for found in re.finditer(r"\.\. automodule:: (\S+)\n((?: +:.*\n)*)", path.read_text(encoding="utf-8")):
            members = re.search(r":members:(.*)", found[2])
            wanted = re.split(r",\s*", members[1].strip()) if members else []
            names |= {f"{found[1]}.{name}" for name in (wanted if any(wanted) else import_module(found[1]).__all__)}
        names |= {f"framework.errors.{name}" for name in blocks(path.stem, "error-class")}
    return {identity(name) for name in names}


def identity(name):
    """Return one name for a thing that can be imported from several modules."""
    module, _, attribute = name.rpartition(".")
    thing = getattr(import_module(module), attribute)
    home = getattr(thing, "__module__", None) if isinstance(thing, type) or callable(thing) else None
    return f"{home or module}.{attribute}" if home and home.startswith("framework") else name


def public_names():
    listed = [f"framework.{name}" for name in framework.__all__ if not inspect.ismodule(getattr(framework, name))]
    return [
        *(name for name in listed if not name.endswith("__")),
        *(
            name
            for module in PUBLIC
            for name in (f"{module}.{each}" for each in getattr(import_module(module), "__all__", ()))
            if name not in INTERNAL
        ),
    ]


@pytest.mark.parametrize("name", public_names())
def test_every_public_name_is_described(name):
    assert identity(name) in described()


def test_every_module_of_the_table_of_contents_is_in_the_reference_of_python():
    modules = [name for name in framework.__all__ if inspect.ismodule(getattr(framework, name))]

    assert [name for name in modules if f"framework.{name}" not in page("api")] == []


def test_the_version_is_in_the_reference_of_python():
    assert "`framework.__version__`" in page("api")


def test_every_bundled_task_is_described():
    tasks = import_module("framework.celery.celery").celery
    tasks.loader.import_default_modules()

    assert [name for name in tasks.tasks if name.startswith("framework.") and name not in page("included")] == []


# Settings.


def entries_of_settings():
    """Return each setting's type, default and Celery's default, as the page has them."""
    found = []
    for name, content in blocks("settings", "confval").items():
        options = dict(re.findall(r"^:(\w+): `(.*)`$", content, re.MULTILINE))
        celerys = re.search(r"Celery's default\s+is\s+`([^`]*)`", content)
        theirs = ast.literal_eval(celerys[1]) if celerys else None
        found.append((name, options["type"], ast.literal_eval(options["default"]), theirs))
    return found


def test_every_default_is_on_the_page_of_settings():
    assert {name: default for name, _, default, _ in entries_of_settings()} == DEFAULTS


def test_the_page_of_settings_has_celery_s_default_beside_ours():
    found = {name: theirs for name, _, _, theirs in entries_of_settings() if name in SETTING_KEYS}

    assert found == {name: CELERYS[name] for name in DEFAULTS if name in SETTING_KEYS}


def test_every_default_differs_from_celery_s():
    assert [name for name in DEFAULTS if name in SETTING_KEYS and DEFAULTS[name] == CELERYS[name]] == []


def test_every_setting_of_the_framework_is_in_its_own_section():
    ours = page("settings").partition("## Other defaults")[0]

    assert set(re.findall(r"\{confval\} (\w+)\n", ours)) == set(DEFAULTS) - SETTING_KEYS


@pytest.mark.parametrize(("name", "type_", "default", "_"), entries_of_settings())
def test_the_type_of_a_setting_allows_its_default(name, type_, default, _):
    kinds = {"int": int, "float": (int, float), "str": str, "bool": bool, "dict": dict, "None": type(None)}

    assert any(isinstance(default, kinds.get(kind, (list, tuple))) for kind in type_.split(" | "))


@pytest.mark.parametrize("module", CONTRIB)
def test_every_environment_variable_of_a_bundled_task_is_in_a_docstring_that_the_guide_shows(module):
    source = inspect.getsource(import_module(f"framework.contrib.{module}"))
    read = set(re.findall(r'env\.\w+\("([A-Z_]+)"', source))
    with_docstring = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = "".join(
        ast.get_docstring(n) or "" for n in ast.walk(ast.parse(source)) if isinstance(n, with_docstring)
    )

    assert [name for name in read if f"``{name}``" not in docstrings] == []
    assert f"automodule:: framework.contrib.{module}\n" in page("included")


# Commands.


def framework_commands():
    ours = [entry for entry in entry_points(group="celery.commands") if entry.value.startswith("framework.")]
    names = [
        [entry.name, *(f"{entry.name} {name}" for name in getattr(entry.load(), "commands", ()))] for entry in ours
    ]
    return sorted(chain.from_iterable(names))


@pytest.mark.parametrize("name", ["", *framework_commands()])
def test_every_command_shows_its_help_on_the_page_of_commands(name):
    assert name in blocks("command", "command-help")


@pytest.mark.parametrize("name", framework_commands())
def test_the_page_of_commands_has_an_example_of_every_command(name):
    examples = re.findall(r"^\$ framework (.*)$", page("command"), re.MULTILINE)

    assert [example for example in examples if example.split()[: len(name.split())] == name.split()]


@pytest.mark.parametrize("name", framework_commands())
def test_the_help_that_the_page_shows_has_every_option(extension, name):
    found, context = command, click.Context(command)
    for word in name.split():
        found = found.get_command(context, word)

    text = extension.help_of(name.split())

    options = [option for param in found.params if isinstance(param, click.Option) for option in param.opts]
    assert [option for option in options if option not in text] == []


# Errors.


@cache
def errors():
    """Return every error of the framework, by its name."""
    for module in walk_packages(framework.__path__, "framework."):
        if not module.name.endswith(("__main__", "pytest_plugin")):
            import_module(module.name)
    return {each.__qualname__: each for each in [FrameworkError, *subclasses(FrameworkError)]}


def subclasses(base):
    for each in base.__subclasses__():
        if each.__module__.startswith("framework."):
            yield each
            yield from subclasses(each)


def test_every_error_is_on_the_page_of_errors():
    described = set(blocks("errors", "error-class"))
    described |= set(re.findall(r"autoexception:: framework\.errors\.(\S+)", page("errors")))

    assert set(errors()) - described == set()


def test_every_error_is_followed_by_its_fix():
    parts = re.split(r"^```\{error-class\} ", page("errors"), flags=re.MULTILINE)[1:]

    assert [
        part.split()[0] for part in parts if not re.match(r".*?^```\n\n[A-Z`{]", part, re.DOTALL | re.MULTILINE)
    ] == []


@pytest.mark.parametrize("name", list(blocks("errors", "error-class")))
def test_the_example_of_every_error_has_a_message(extension, name):
    code = blocks("errors", "error-class")[name].removeprefix(":no-index:\n")

    assert extension.message_of(code, name)


def test_an_example_that_makes_another_error_is_refused(extension):
    with pytest.raises(Exception, match=r"Fix it in docs/errors\.md"):
        extension.message_of("UnknownTask.named('a', [])", "UnknownQueue")


# Symptoms.


def quoted():
    """Return each message on the page of symptoms: a term that is code with a space in it, and no command."""
    terms = re.findall(r"^(\S.*)\n: ", page("symptoms"), re.MULTILINE)
    messages = [found[2] for found in map(CODE.fullmatch, terms) if found]
    return [message for message in messages if message not in SHELL_MESSAGES]


CODE = re.compile(r"(`+) ?((?:(?!\1).)*?) ?\1")
SHELL_MESSAGES = {"framework: command not found"}


@cache
def texts_of(*packages):
    """Return all string constants in the sources of some packages, as one text."""
    return "\n".join(
        " ".join(str(node.value).split())
        for package in packages
        for path in files_of(package)
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def files_of(package):
    path = Path(package.__file__)
    return path.parent.rglob("*.py") if path.name == "__init__.py" else [path]


def missing_parts(message, texts):
    """Return the parts of a message, around what differs, that are in no text."""
    parts = [" ".join(part.split()).strip(" .:()'") for part in re.split(r"…|(?<=[.:]) ", message)]
    return [part for part in parts if part and part not in texts]


@pytest.mark.parametrize("message", quoted())
def test_every_message_among_the_symptoms_is_in_a_source(message):
    assert missing_parts(message, texts_of(framework, celery, kombu, billiard, encoder)) == []


@pytest.mark.parametrize("message", ["No task is named …", "The broker … cannot be used: … Nothing was lost."])
def test_a_message_that_is_in_no_source_is_noticed(message):
    assert missing_parts(message, texts_of(framework, celery, kombu, billiard, encoder))


def test_there_are_many_symptoms_and_each_has_its_cause_and_its_fix():
    symptoms = re.findall(r"^: (.*?)(?=\n\n|\Z)", page("symptoms"), re.DOTALL | re.MULTILINE)

    assert len(symptoms) >= 25
    assert [text for text in symptoms if "**Why:**" not in text or "**Fix:**" not in text] == []


# Examples.


@pytest.mark.parametrize("name", ["settings", "housekeeping"])
def test_the_configurations_that_the_reference_shows_are_accepted(name):
    path = EXAMPLES / f"{name}.py"

    assert settings_from(runpy.run_path(str(path)), place=path.name)


def test_the_schedule_that_the_reference_shows_can_be_scheduled(tmp_path):
    shutil.copy(EXAMPLES / "housekeeping.py", tmp_path / "celeryconfig.py")

    output = run(tmp_path, "-m", "framework", "schedule", "next", "-n", "1").stdout

    assert "mark expiring cards" in output
    assert "remind dormant accounts" in output


def test_the_table_of_contents_is_used_as_the_reference_shows_it(tmp_path):
    assert run(tmp_path, EXAMPLES / "contents.py").returncode == 0


@pytest.mark.parametrize(
    ("broker", "output"),
    [("sqlite:///broker.db", ""), ("sqlite:///no/such/folder/broker.db", "Please try again in a moment.\n")],
)
def test_an_error_of_the_broker_is_caught_as_the_reference_shows_it(tmp_path, broker, output):
    assert run(tmp_path, EXAMPLES / "errors.py", CELERY_BROKER_URL=broker).stdout == output


def run(folder, *arguments, **environment):
    """Run Python in a folder, on an embedded broker in that folder."""
    variables = {**os.environ, "CELERY_BROKER_URL": "sqlite:///broker.db", **environment}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


# Words.


def words_of_the_glossary():
    (content,) = blocks("glossary", "glossary").values()
    return re.findall(r"^(\S.*)$", content, re.MULTILINE)


def spanish():
    lines = (DOCS / "locales" / "terms.es.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t") for line in lines if not line.startswith("#"))


def test_every_word_of_the_glossary_has_its_spanish_word():
    assert set(words_of_the_glossary()) - set(spanish()) == set()


def test_words_are_sorted_and_each_is_there_once():
    assert words_of_the_glossary() == sorted(set(words_of_the_glossary()))
    assert list(spanish()) == sorted(set(spanish()))


def test_a_translation_of_the_glossary_has_the_words_that_are_fixed():
    path = DOCS / "locales" / "es" / "LC_MESSAGES" / "glossary.po"
    if not path.exists():
        pytest.skip("The glossary is not translated yet.")
    translated = dict(re.findall(r'^msgid "(.+)"\nmsgstr "(.+)"$', path.read_text(encoding="utf-8"), re.MULTILINE))

    differing = {
        word: translated[word] for word, fixed in spanish().items() if fixed not in translated.get(word, fixed)
    }

    assert differing == {}


# Figures.


def figures():
    return {found[1] for path in DOCS.glob("*.md") for found in re.finditer(r"\{measured\}`([^`]+)`", path.read_text())}


def test_every_figure_of_the_guide_was_measured(extension):
    assert figures()
    for figure in figures():
        name, *keys = figure.split(" > ")
        results = json.loads((extension.RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        assert isinstance(extension.lookup(results, keys), int | float), figure


def test_a_figure_is_written_as_its_language_writes_it(extension):
    assert extension.format_figure(10809.42, "en") == "10,800"
    assert extension.format_figure(10809.42, "es") == "10\u00a0800"
    assert extension.format_figure(2.345, "en") == "2.3"
    assert extension.format_figure(2.345, "es") == "2,3"
    assert extension.format_figure(584, "es") == "584"


def test_a_figure_is_found_by_keys_and_by_the_value_of_an_item(extension):
    results = json.loads('{"runs": [{"who": "vanilla", "lost": 5}, {"who": "ours", "lost": 0}]}')

    assert extension.lookup(results, ["runs", "who=ours", "lost"]) == 0
    with pytest.raises(KeyError):
        extension.lookup(results, ["runs", "who=theirs", "lost"])
