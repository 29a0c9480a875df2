"""What the reference shows is asked of the thing itself: commands for their help, base for their message,
measurements for their figures.
"""

import ast
import json
import textwrap
from pathlib import Path

import click
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective, SphinxRole

from framework.cli.command import command
from framework.errors_ import base

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
WIDTH = 88


class CommandHelp(SphinxDirective):
    """``{command-help} failed retry``: what ``framework failed retry --help`` prints."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self):
        names = " ".join(self.arguments).split()
        shown = f"$ {' '.join(['framework', *names, '--help'])}\n{help_of(names)}"
        return [nodes.literal_block(shown, shown, language="console")]


def help_of(names):
    """The help of a command of ours, as a terminal of a fixed width shows it."""
    context = click.Context(command, info_name="framework", terminal_width=WIDTH)
    found = command
    for name in names:
        found = found.get_command(context, name)
        if found is None:
            raise ExtensionError(f"There is no command {' '.join(names)!r}. See: framework --help")
        context = click.Context(found, info_name=name, parent=context, terminal_width=WIDTH)
    return found.get_help(context)


class ErrorClass(SphinxDirective):
    """``{error-class} UnknownTask``: what it means, and the message of the one that the code in the directive makes."""

    required_arguments = 1
    has_content = True
    option_spec = {"elsewhere": directives.flag}  # noqa: RUF012

    def run(self):
        name = self.arguments[0]
        path = name if "." in name else f"framework.errors.{name}"
        index = "   :no-index:\n" if "elsewhere" in self.options else ""
        told = f"```{{eval-rst}}\n.. autoexception:: {path}\n   :show-inheritance:\n{index}```\n"
        message = message_of("\n".join(self.content), path)
        return [*self.parse_text_to_nodes(told), nodes.literal_block(message, message, language="text")]


def message_of(code, path):
    """What the error says that code returns, or raises. The code knows the names of `framework.errors`."""
    *before, last = ast.parse(code).body
    names = dict(vars(base))
    exec(compile(ast.Module(before, []), path, "exec"), names)  # noqa: S102 - it stands in the guide's own source
    try:
        error = eval(compile(ast.Expression(last.value), path, "eval"), names)  # noqa: S307 - as above
    except base.FrameworkError as raised:
        error = raised
    if f"{type(error).__module__}.{type(error).__qualname__}" != path:
        raise ExtensionError(f"The example of {path} makes {error!r}. Mend it in docs/base.md.")
    return "\n".join(textwrap.fill(line, WIDTH, break_long_words=False) for line in str(error).splitlines())


class Measured(SphinxRole):
    """``{measured}`limits > flood > visitors` ``: a figure of `benchmarks/results`, as the language writes it."""

    def run(self):
        name, *keys = self.text.split(" > ")
        path = RESULTS / f"{name}.json"
        self.env.note_dependency(str(path))
        try:
            figure = looked_up(json.loads(path.read_text(encoding="utf-8")), keys)
        except (OSError, LookupError) as wrong:
            told = f"{self.text!r} is no figure of {path.name}: {wrong!r}. See make bench and make chaos."
            return [], [self.inliner.reporter.error(told, line=self.lineno)]
        return [nodes.Text(written(figure, self.config.language))], []


def looked_up(found, keys):
    """What lies at the end of a path of keys; ``profile=vanilla`` is the item of a list that has this."""
    for key in keys:
        if isinstance(found, list):
            name, _, value = key.partition("=")
            found = next((item for item in found if str(item[name]) == value), None)
            if found is None:
                raise KeyError(key)
        else:
            found = found[key]
    return found


def written(figure, language):
    """A count as it is; what was measured to two digits, or three from a hundred on: more of them mean nothing."""
    if isinstance(figure, float):
        figure = float(f"{figure:.3g}" if abs(figure) >= 100 else f"{figure:.2g}")
        figure = int(figure) if figure == int(figure) else figure
    if language == "es":  # no mark in four digits, a space in more, and a comma before what is less than one
        return (f"{figure:,}" if figure >= 10_000 else str(figure)).translate({ord(","): "\u00a0", ord("."): ","})
    return f"{figure:,}"


def setup(app):
    app.add_directive("command-help", CommandHelp)
    app.add_directive("error-class", ErrorClass)
    app.add_role("measured", Measured())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
