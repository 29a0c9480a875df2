"""The directive ``diagram``: a drawing in Graphviz's language, in the colours and the language of the page."""

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

# The stylesheet has the colours and the letters; these are the shapes. No usual font is wider than DejaVu Sans.
SHAPES = """
    graph [bgcolor=transparent, fontname="DejaVu Sans", fontsize=13, pad=0.05, nodesep=0.3]
    node [label="\\N", shape=box, style=rounded, fontname="DejaVu Sans", fontsize=14, margin="0.16,0.07"]
    edge [fontname="DejaVu Sans", fontsize=12, arrowsize=0.7]
"""
# What graphviz writes for a file of its own: the page has its own ids and no tips that show names like "a->b".
OF_A_FILE = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<title>.*?</title>", re.DOTALL)
# A narrow screen shrinks a drawing that far, then scrolls it: smaller letters cannot be read.
SMALLEST = 0.75


class Diagram(nodes.General, nodes.Element, addnodes.translatable):
    """A drawing; its labels and its alternative text are messages of the catalogue."""

    def preserve_original_messages(self):
        labels = dict.fromkeys(label for _, label in labelled(AGraph(string=self["dot"])))
        # Sphinx leaves a node alone whose last message is the same in both languages. Those for all of it never are.
        self["messages"] = [*labels, self["alt"]]
        self["words"] = {}

    def extract_original_messages(self):
        return self["messages"]

    def apply_translated_message(self, original, translated):
        self["words"][original] = translated


def labelled(graph):
    """Each part of a graph that has a label, and that label as the source has it."""
    for part in (graph, *graph.subgraphs(), *graph.nodes(), *graph.edges()):
        attributes = part.graph_attr if isinstance(part, AGraph) else part.attr
        label = attributes.get("label")
        if label and label != "\\N":
            yield attributes, label


def draw(diagram):
    """The drawing as SVG that belongs into a page."""
    graph, translated = AGraph(string=diagram["dot"].replace("{", "{" + SHAPES, 1)), diagram["words"]
    for attributes, label in list(labelled(graph)):
        attributes["label"] = translated.get(label, label)
    return _for_a_page(graph.draw(format="svg", prog="dot").decode(), translated.get(diagram["alt"], diagram["alt"]))


def _for_a_page(svg, alt):
    svg = re.sub(r' id="[^"]*"', "", OF_A_FILE.sub("", svg)).strip()
    width = float(re.search(r'viewBox="[\d.]+ [\d.]+ ([\d.]+)', svg)[1])
    style = f"width: {width:.0f}px; min-width: {width * SMALLEST:.0f}px"
    opening = f'<svg role="img" aria-label="{escape(alt)}" style="{style}"'
    return re.sub(r'<svg width="[^"]*" height="[^"]*"', lambda _: opening, svg, count=1)


class DiagramDirective(SphinxDirective):
    """What is drawn is the content, ``:alt:`` says it in words, and ``:caption:`` may stand below it."""

    has_content = True
    option_spec = {"alt": directives.unchanged_required, "caption": directives.unchanged}  # noqa: RUF012

    def run(self):
        if not self.options.get("alt"):
            raise self.error("A diagram wants words for those who do not see it. Add the option :alt:.")
        dot = "\n".join(self.content)
        try:
            AGraph(string=dot)
        except ValueError as wrong:
            raise self.error(f"Graphviz cannot read this diagram: {wrong}. Mend its source.") from wrong
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
    """Write a drawing where the page is HTML. What may have to be scrolled can be reached with the keyboard."""
    writer.body.append(f'<div class="diagram" tabindex="0">{draw(diagram)}</div>\n')
    raise nodes.SkipNode


def visit_text(_writer, _diagram):
    """Catalogues take the words from the node itself."""
    raise nodes.SkipNode


@contextmanager
def _silence():
    """Send what libraries in C say to nobody."""
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nobody:
        os.dup2(nobody.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def setup(app):
    with _silence():  # the first drawing says what it thinks of the fonts of a machine newer than itself
        AGraph(string="digraph { a }").draw(format="svg", prog="dot")
    app.add_node(Diagram, html=(visit_diagram, None), text=(visit_text, None))
    app.add_directive("diagram", DiagramDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
