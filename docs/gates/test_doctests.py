"""What the guide shows after ``>>>`` is what Python says."""

import doctest
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1]
FENCED = re.compile(r"^(`{3,})[^\n`]*\n(.*?)^\1", re.DOTALL | re.MULTILINE)


def examples_of(page):
    """The blocks of a page with prompts in them: one session, from the top to the bottom."""
    return "\n".join(block for _, block in FENCED.findall(page) if block.lstrip().startswith(">>>"))


def wrong_in(page, name):
    test = doctest.DocTestParser().get_doctest(examples_of(page), {}, name, name, 0)
    said = []
    doctest.DocTestRunner().run(test, out=said.append)
    return "".join(said)


def test_every_example_with_a_prompt_says_what_the_guide_says():
    wrong = [wrong_in(path.read_text(encoding="utf-8"), path.name) for path in sorted(DOCS.glob("*.md"))]
    assert not any(wrong), "".join(wrong)


@pytest.mark.parametrize(("said", "is_wrong"), [("2", False), ("3", True)])
def test_an_example_that_says_something_else_is_noticed(said, is_wrong):
    page = f"# Page\n\n```pycon\n>>> one = 1\n```\n\nand then\n\n```pycon\n>>> one + one\n{said}\n```\n"
    assert bool(wrong_in(page, "page.md")) == is_wrong
