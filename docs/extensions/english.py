"""Docstrings and the change log stay English in every language: they are marked so, and kept out of the catalogues."""

from pathlib import Path

from docutils.nodes import paragraph
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


def setup(app):
    app.add_transform(StaysEnglish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
