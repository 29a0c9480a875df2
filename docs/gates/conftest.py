"""The pages of the built guide. `make docs` builds it; ``GUIDE_HTML`` names another folder."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

HTML = Path(os.environ.get("GUIDE_HTML", Path(__file__).parents[1] / "_build/html")).resolve()
LANGUAGES = {"en": HTML, "es": HTML / "es"}


@dataclass(frozen=True)
class Page:
    """A page of the built guide."""

    path: Path
    language: str

    @cached_property
    def soup(self):
        return BeautifulSoup(self.path.read_text(encoding="utf-8"), "html.parser")

    @property
    def name(self):
        return str(self.path.relative_to(HTML))

    @property
    def is_written(self):
        """Whether the page is the guide's: the index and the search page are Sphinx's."""
        return self.path.stem not in {"genindex", "search", "py-modindex"}


@pytest.fixture(scope="session")
def pages():
    """Every page in both languages."""
    found = [Page(path, code) for code, folder in LANGUAGES.items() for path in sorted(folder.glob("*.html"))]
    assert {page.language for page in found} == set(LANGUAGES), f"The guide is not built in {HTML}. Run: make docs"
    return found


@pytest.fixture(scope="session")
def needed():
    """Skip a test whose program is missing; fail where ``CI=true``."""

    def skip(missing):
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)

    return skip
