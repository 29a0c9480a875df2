"""Directives and a role for the reference: the help of commands, the messages of errors, measured figures."""

import ast
import json
import textwrap
from pathlib import Path

import click
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective, SphinxRole

from framework import errors
from framework.cli.command import command

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
WIDTH = 88


class CommandHelp(SphinxDirective):
    """``{command-help} failed retry`` prints the output of ``framework failed retry --help``."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self):
        names = " ".join(self.arguments).split()
        text = f"$ {' '.join(['framework', *names, '--help'])}\n{help_of(names)}"
        return [nodes.literal_block(text, text, language="console")]


def help_of(names):
    """Return the help of a command of the framework for a terminal of ``WIDTH`` columns."""
    context = click.Context(command, info_name="framework", terminal_width=WIDTH)
    found = command
    for name in names:
        found = found.get_command(context, name)
        if found is None:
            raise ExtensionError(f"There is no command {' '.join(names)!r}. See: framework --help")
        context = click.Context(found, info_name=name, parent=context, terminal_width=WIDTH)
    return found.get_help(context)


class ErrorClass(SphinxDirective):
    """``{error-class} UnknownTask`` prints the error's docstring and the message of the one that its code makes."""

    required_arguments = 1
    has_content = True
    option_spec = {"no-index": directives.flag}  # noqa: RUF012

    def run(self):
        name = self.arguments[0]
        index = "   :no-index:\n" if "no-index" in self.options else ""
        source = f"```{{eval-rst}}\n.. autoexception:: framework.errors.{name}\n   :show-inheritance:\n{index}```\n"
        message = message_of("\n".join(self.content), name)
        return [*self.parse_text_to_nodes(source), nodes.literal_block(message, message, language="text")]


def message_of(code, name):
    """Return the message of the error that ``code`` returns or raises. The names of `framework.errors` are imported."""
    *before, last = ast.parse(code).body
    names = dict(vars(errors), Path=Path)
    exec(compile(ast.Module(before, []), name, "exec"), names)  # noqa: S102 - the code is the guide's own
    try:
        error = eval(compile(ast.Expression(last.value), name, "eval"), names)  # noqa: S307 - as above
    except errors.FrameworkError as raised:
        error = raised
    if type(error) is not getattr(errors, name):
        raise ExtensionError(f"The example of {name} makes {error!r}. Fix it in docs/errors.md.")
    return "\n".join(textwrap.fill(line, WIDTH, break_long_words=False) for line in str(error).splitlines())


class Measured(SphinxRole):
    """``{measured}`limits > flood > visitors` `` prints a figure of `benchmarks/results` in the language's format."""

    def run(self):
        name, *keys = self.text.split(" > ")
        path = RESULTS / f"{name}.json"
        self.env.note_dependency(str(path))
        try:
            figure = lookup(json.loads(path.read_text(encoding="utf-8")), keys)
        except (OSError, LookupError) as exc:
            message = f"{self.text!r} is no figure of {path.name}: {exc!r}. See make bench and make chaos."
            return [], [self.inliner.reporter.error(message, line=self.lineno)]
        return [nodes.Text(format_figure(figure, self.config.language))], []


def lookup(found, keys):
    """Return the value at a path of keys; ``profile=vanilla`` selects the item of a list whose profile is vanilla."""
    for key in keys:
        if isinstance(found, list):
            name, _, value = key.partition("=")
            found = next((item for item in found if str(item[name]) == value), None)
            if found is None:
                raise KeyError(key)
        else:
            found = found[key]
    return found


def format_figure(figure, language):
    """Return a count unchanged and a measurement with two significant digits, three from 100 on."""
    if isinstance(figure, float):
        figure = float(f"{figure:.3g}" if abs(figure) >= 100 else f"{figure:.2g}")
        figure = int(figure) if figure == int(figure) else figure
    if language == "es":  # no separator in four digits, a space in more, and a decimal comma
        return (f"{figure:,}" if figure >= 10_000 else str(figure)).translate({ord(","): "\u00a0", ord("."): ","})
    return f"{figure:,}"


def setup(app):
    app.add_directive("command-help", CommandHelp)
    app.add_directive("error-class", ErrorClass)
    app.add_role("measured", Measured())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
