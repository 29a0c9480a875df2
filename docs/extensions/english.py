"""Docstrings and the change log stay English in every language: they are marked so, and kept out of the catalogues."""

from pathlib import Path

from sphinx.transforms import SphinxTransform
from sphinx.util.nodes import extract_messages


class StaysEnglish(SphinxTransform):
    """Mark what was not written for the guide, before it is looked up in a catalogue."""

    default_priority = 9  # the catalogues' own transforms begin at 10

    def apply(self, **_options):
        for node in [node for node, _ in extract_messages(self.document)]:
            if self._is_from_elsewhere(node):
                node["translatable"] = False
                node["classes"].append("language-en")  # the writer makes lang="en" of it

    def _is_from_elsewhere(self, node):
        source = str(node.source or "")
        return "docstring of" in source or Path(source).name == "CHANGELOG.md"


def setup(app):
    app.add_transform(StaysEnglish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
