"""The output after ``>>>`` in the guide is Python's."""

import doctest
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1]
FENCED = re.compile(r"^(`{3,})[^\n`]*\n(.*?)^\1", re.DOTALL | re.MULTILINE)


def examples_of(page):
    """Return the blocks of a page with prompts in them, as one session."""
    return "\n".join(block for _, block in FENCED.findall(page) if block.lstrip().startswith(">>>"))


def failures_in(page, name):
    test = doctest.DocTestParser().get_doctest(examples_of(page), {}, name, name, 0)
    output = []
    doctest.DocTestRunner().run(test, out=output.append)
    return "".join(output)


def test_every_example_with_a_prompt_has_the_output_that_the_guide_shows():
    failures = [failures_in(path.read_text(encoding="utf-8"), path.name) for path in sorted(DOCS.glob("*.md"))]
    assert not any(failures), "".join(failures)


@pytest.mark.parametrize(("output", "fails"), [("2", False), ("3", True)])
def test_an_example_with_another_output_is_noticed(output, fails):
    page = f"# Page\n\n```pycon\n>>> one = 1\n```\n\nand then\n\n```pycon\n>>> one + one\n{output}\n```\n"
    assert bool(failures_in(page, "page.md")) == fails
