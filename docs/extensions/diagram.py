"""The directive ``diagram``: a Graphviz drawing in the colours and the language of the page."""

import os
import re
from contextlib import contextmanager
from html import escape
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from pygraphviz import AGraph
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

# The stylesheet sets the colours and the font; these are the shapes. No usual font is wider than DejaVu Sans.
SHAPES = """
    graph [bgcolor=transparent, fontname="DejaVu Sans", fontsize=13, pad=0.05, nodesep=0.3]
    node [label="\\N", shape=box, style=rounded, fontname="DejaVu Sans", fontsize=14, margin="0.16,0.07"]
    edge [fontname="DejaVu Sans", fontsize=12, arrowsize=0.7]
"""
# Parts of graphviz's output for a standalone file; a title would show as a tooltip such as "a->b".
STANDALONE_MARKUP = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<title>.*?</title>", re.DOTALL)
# A narrow screen shrinks a drawing to this scale, then scrolls it: smaller letters cannot be read.
SMALLEST_SCALE = 0.75


class Diagram(nodes.General, nodes.Element, addnodes.translatable):
    """A drawing; its labels and its alternative text are entries of the catalogue."""

    def preserve_original_messages(self):
        labels = dict.fromkeys(label for _, label in labelled(AGraph(string=self["dot"])))
        # Sphinx skips a node whose last message is the same in both languages; the alternative text never is.
        self["messages"] = [*labels, self["alt"]]
        self["words"] = {}

    def extract_original_messages(self):
        return self["messages"]

    def apply_translated_message(self, original, translated):
        self["words"][original] = translated


def labelled(graph):
    """Yield each part of a graph that has a label, with the label as written in the source."""
    for part in (graph, *graph.subgraphs(), *graph.nodes(), *graph.edges()):
        attributes = part.graph_attr if isinstance(part, AGraph) else part.attr
        label = attributes.get("label")
        if label and label != "\\N":
            yield attributes, label


def draw(diagram):
    """Return the drawing as inline SVG."""
    graph, translated = AGraph(string=diagram["dot"].replace("{", "{" + SHAPES, 1)), diagram["words"]
    for attributes, label in list(labelled(graph)):
        attributes["label"] = translated.get(label, label)
    return _inline(graph.draw(format="svg", prog="dot").decode(), translated.get(diagram["alt"], diagram["alt"]))


def _inline(svg, alt):
    svg = re.sub(r' id="[^"]*"', "", STANDALONE_MARKUP.sub("", svg)).strip()
    width = float(re.search(r'viewBox="[\d.]+ [\d.]+ ([\d.]+)', svg)[1])
    style = f"width: {width:.0f}px; min-width: {width * SMALLEST_SCALE:.0f}px"
    opening = f'<svg role="img" aria-label="{escape(alt)}" style="{style}"'
    return re.sub(r'<svg width="[^"]*" height="[^"]*"', lambda _: opening, svg, count=1)


class DiagramDirective(SphinxDirective):
    """A drawing from Graphviz source, with an alternative text ``:alt:`` and an optional ``:caption:``."""

    has_content = True
    option_spec = {"alt": directives.unchanged_required, "caption": directives.unchanged}  # noqa: RUF012

    def run(self):
        if not self.options.get("alt"):
            raise self.error("A diagram needs an alternative text. Add the option :alt:.")
        dot = "\n".join(self.content)
        try:
            AGraph(string=dot)
        except ValueError as exc:
            raise self.error(f"Graphviz cannot read this diagram: {exc}. Fix its source.") from exc
        diagram = Diagram(dot=dot, alt=self.options["alt"], classes=["diagram"])
        self.set_source_info(diagram)
        diagram.preserve_original_messages()
        if "caption" not in self.options:
            return [diagram]
        words, notes = self.parse_inline(self.options["caption"])
        caption = nodes.caption(self.options["caption"], "", *words)
        self.set_source_info(caption)
        return [nodes.figure("", diagram, caption), *notes]


def visit_diagram(writer, diagram):
    """Write a drawing into an HTML page. It can be focused, so that the keyboard can scroll it."""
    writer.body.append(f'<div class="diagram" tabindex="0">{draw(diagram)}</div>\n')
    raise nodes.SkipNode


def visit_text(_writer, _diagram):
    """Skip the node: catalogues read its messages from the node itself."""
    raise nodes.SkipNode


@contextmanager
def _discard_stderr():
    """Discard what C libraries write to standard error."""
    original = os.dup(2)
    with Path(os.devnull).open("wb") as null:
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(original, 2)
        os.close(original)


def setup(app):
    with _discard_stderr():  # the first drawing prints warnings about the machine's fonts
        AGraph(string="digraph { a }").draw(format="svg", prog="dot")
    app.add_node(Diagram, html=(visit_diagram, None), text=(visit_text, None))
    app.add_directive("diagram", DiagramDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
