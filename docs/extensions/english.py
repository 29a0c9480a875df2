"""Transforms that mark docstrings and the change log as English and keep them out of the catalogues."""

from pathlib import Path

from docutils.nodes import Text, field_name, paragraph
from sphinx.addnodes import desc_content
from sphinx.transforms import SphinxTransform
from sphinx.util.nodes import extract_messages


class StaysEnglish(SphinxTransform):
    """Mark text that was not written for the guide, before it is looked up in a catalogue."""

    default_priority = 9  # the catalogues' own transforms begin at 10

    def apply(self, **_options):
        for node in [node for node, _ in extract_messages(self.document)]:
            if self._is_english_source(node):
                node["translatable"] = False
                self._mark(node)
        for described in self.document.findall(desc_content):
            # Sphinx rebuilds lists of parameters and errors without their source.
            for node in [node for node in described.findall(paragraph) if node.source is None]:
                self._mark(node)

    def _mark(self, node):
        node["classes"].append("language-en")  # the writer turns this into lang="en"

    def _is_english_source(self, node):
        source = str(node.source or "")
        return "docstring of" in source or Path(source).name == "CHANGELOG.md"


class TranslateRaises(SphinxTransform):
    """Replace Sphinx's Spanish heading for "Raises", which means "shows"."""

    default_priority = 30

    def apply(self, **_options):
        for name in self.document.findall(field_name):
            if name.astext() == "Muestra":
                name.clear()
                name += Text("Lanza")


def setup(app):
    app.add_transform(StaysEnglish)
    app.add_transform(TranslateRaises)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
