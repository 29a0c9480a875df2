"""A diagram is drawn from its source, in the page's language, with an alternative text."""

import subprocess
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

EXTENSIONS = Path(__file__).parents[1] / "extensions"
PAGE = """\
# A page

```{diagram}
:alt: The caller publishes to a worker.
:caption: Publisher and consumer

digraph {
    rankdir=LR
    caller [label="the caller", class="main"]
    worker
    caller -> worker [label="publishes"]
}
```
"""
SPANISH = {
    "A page": "Una página",
    "The caller publishes to a worker.": "Quien llama publica para un worker.",
    "Publisher and consumer": "Publicador y consumidor",
    "the caller": "quien llama",
    "publishes": "publica",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A guide of one page with one diagram, and its translation."""
    folder = tmp_path_factory.mktemp("guide")
    (folder / "index.md").write_text(PAGE)
    (folder / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(EXTENSIONS)!r})\nextensions = ['myst_parser', 'diagram']\n"
        "locale_dirs = ['locales']\nhtml_theme = 'basic'\n"
    )
    catalogue = folder / "locales/es/LC_MESSAGES/index.po"
    catalogue.parent.mkdir(parents=True)
    head = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n'
    entries = [f'\nmsgid "{id_}"\nmsgstr "{string}"\n' for id_, string in SPANISH.items()]
    catalogue.write_text("".join([head, *entries]), encoding="utf-8")
    return folder


def build(project, builder, language):
    out = project / f"{builder}-{language}"
    command = [sys.executable, "-m", "sphinx", "-qEW", "-b", builder, "-D", f"language={language}"]
    subprocess.run([*command, str(project), str(out)], check=True)
    return out


def article(project, language):
    html = (build(project, "html", language) / "index.html").read_text(encoding="utf-8")
    return BeautifulSoup(html, "html.parser")


def test_a_diagram_is_drawn_into_the_page(project):
    page = article(project, "en")
    assert [text.string for text in page.select(".diagram svg text")] == ["the caller", "worker", "publishes"]
    assert page.svg["aria-label"] == "The caller publishes to a worker."
    assert page.select_one("figcaption, .caption").get_text(strip=True).startswith("Publisher and consumer")
    assert page.select_one(".node.main text").string == "the caller"


def test_a_diagram_has_no_ids_that_could_clash_with_the_page_s(project):
    page = article(project, "en")
    assert page.svg.select("[id], title") == []


def test_a_diagram_is_in_the_language_of_its_page(project):
    page = article(project, "es")
    assert [text.string for text in page.select(".diagram svg text")] == ["quien llama", "worker", "publica"]
    assert page.svg["aria-label"] == "Quien llama publica para un worker."


def test_the_words_of_a_diagram_are_in_the_catalogue(project):
    catalogue = (build(project, "gettext", "en") / "index.pot").read_text(encoding="utf-8")
    assert [word for word in SPANISH if f'msgid "{word}"' not in catalogue] == []


@pytest.mark.parametrize(
    ("diagram", "message"),
    [
        ("digraph { a -> b }", ":alt:"),
        (":alt: a and b\n\ndigraph { a -> ", "Graphviz cannot read this diagram"),
    ],
    ids=["no alternative text", "a mistake in the drawing"],
)
def test_a_diagram_with_a_mistake_or_without_alternative_text_is_refused(project, tmp_path, diagram, message):
    (tmp_path / "conf.py").write_text((project / "conf.py").read_text())
    (tmp_path / "index.md").write_text(f"# A page\n\n```{{diagram}}\n{diagram}\n```\n")
    command = [sys.executable, "-m", "sphinx", "-qEW", "-b", "html", str(tmp_path), str(tmp_path / "out")]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode != 0
    assert message in done.stderr
