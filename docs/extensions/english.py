"""Docstrings and the change log stay English in every language: they are marked so, and kept out of the catalogues."""

from pathlib import Path

from docutils.nodes import Text, field_name, paragraph
from sphinx.addnodes import desc_content
from sphinx.transforms import SphinxTransform
from sphinx.util.nodes import extract_messages


class StaysEnglish(SphinxTransform):
    """Mark what was not written for the guide, before it is looked up in a catalogue."""

    default_priority = 9  # the catalogues' own transforms begin at 10

    def apply(self, **_options):
        for node in [node for node, _ in extract_messages(self.document)]:
            if self._is_from_elsewhere(node):
                node["translatable"] = False
                self._mark(node)
        for described in self.document.findall(desc_content):
            # Sphinx puts lists of parameters and errors together anew, and forgets where they come from.
            for node in [node for node in described.findall(paragraph) if node.source is None]:
                self._mark(node)

    def _mark(self, node):
        node["classes"].append("language-en")  # the writer makes lang="en" of it

    def _is_from_elsewhere(self, node):
        source = str(node.source or "")
        return "docstring of" in source or Path(source).name == "CHANGELOG.md"


class Lanza(SphinxTransform):
    """Sphinx's Spanish word for "Raises" means "shows"."""

    default_priority = 30

    def apply(self, **_options):
        for name in self.document.findall(field_name):
            if name.astext() == "Muestra":
                name.clear()
                name += Text("Lanza")


def setup(app):
    app.add_transform(StaysEnglish)
    app.add_transform(Lanza)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
