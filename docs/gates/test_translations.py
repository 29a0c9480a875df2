"""The Spanish guide is complete, and has the same code, links and names as the English one."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

DOCS = Path(__file__).parents[1]
SPANISH = DOCS / "locales/es/LC_MESSAGES"
# {role}`words <target>`, `code`, [words](target), <https://...>
ROLE_OR_CODE = re.compile(r"(?:\{(?P<role>[\w:]+)\})?(?P<fence>`+)(?P<inside>.+?)(?P=fence)(?!`)", re.DOTALL)
TARGET = re.compile(r"<([^<>]+)>$")
LINK = re.compile(r"\]\(([^)\s]+)[^)]*\)|<(\w+://[^>]+)>")
PLACE = re.compile(r"%\(\w+\)s|\{\w+\}(?!`)")


@pytest.fixture(scope="session")
def english(tmp_path_factory):
    """The English messages, by page."""
    folder = tmp_path_factory.mktemp("gettext")
    build = ["-m", "sphinx", "-EQ", "-b", "gettext", "-d", str(folder / "doctrees"), str(DOCS), str(folder / "pot")]
    subprocess.run([sys.executable, *build], check=True)
    return {path.stem: catalogue(path) for path in (folder / "pot").glob("*.pot")}


@pytest.fixture(scope="session")
def spanish():
    """The Spanish messages, by page."""
    return {path.stem: catalogue(path) for path in SPANISH.glob("*.po")}


def catalogue(path):
    with path.open("rb") as file:
        return read_po(file, locale="es", abort_invalid=True)


def messages_of(catalog):
    return {message.id: message for message in catalog if message.id}


def pieces(text):
    """Return the code, links and names in a text, which a translation does not change."""
    found = {link or address for link, address in LINK.findall(text)} | set(PLACE.findall(text))
    for piece in ROLE_OR_CODE.finditer(text):
        role, inside = piece["role"], piece["inside"]
        if role == "term":
            found.add("{term}")  # a term has another name in each language
        elif role:
            target = TARGET.search(inside)
            found.add(f"{{{role}}}`{target[1] if target else inside}`")
        else:
            found.add(inside)
    return found


def test_every_message_is_translated(english, spanish):
    missing = [
        f"{page}: {id_}"
        for page, catalog in english.items()
        for id_ in messages_of(catalog)
        if not (page in spanish and messages_of(spanish[page]).get(id_) and messages_of(spanish[page])[id_].string)
    ]
    assert missing == [], "Run `make messages`, and translate."


def test_no_translation_is_fuzzy(spanish):
    assert [f"{page}: {m.id}" for page, catalog in spanish.items() for m in catalog if m.id and m.fuzzy] == []


def test_every_translation_is_of_a_message_of_today(english, spanish):
    current = {page: set(messages_of(catalog)) for page, catalog in english.items()}
    left = [f"{page}: {id_}" for page, of in spanish.items() for id_ in set(messages_of(of)) - current.get(page, set())]
    obsolete = [f"{page}: {id_}" for page, of in spanish.items() for id_ in of.obsolete]
    assert left + obsolete == [], "Run `make messages`; remove the catalogue of a page that is gone."


def test_a_translation_has_the_code_links_and_names_of_its_source(spanish):
    different = [
        f"{page}: {sorted(pieces(message.id) ^ pieces(message.string))} differ in: {message.string}"
        for page, catalog in spanish.items()
        for message in messages_of(catalog).values()
        if message.string and pieces(message.id) != pieces(message.string)
    ]
    assert different == []


@pytest.mark.parametrize(
    ("source", "translation"),
    [
        ("See {doc}`failed tasks <failed>`.", "Vea {doc}`las tareas fallidas <failed>`."),
        ("Call `delay` of {doc}`calling`.", "Llame a `delay`, de {doc}`las llamadas <calling>`."),
        ("A {term}`limit` on [a site](https://a.b).", "Un {term}`límite` en [un sitio](https://a.b)."),
    ],
)
def test_words_around_code_and_links_may_be_translated(source, translation):
    assert pieces(source) == pieces(translation)


@pytest.mark.parametrize(
    ("source", "translation"),
    [
        ("See {doc}`failed tasks <failed>`.", "Vea {doc}`las tareas fallidas <fallidas>`."),
        ("Call `delay`.", "Llame a `demora`."),
        ("Call `delay`.", "Llame a delay."),
        ("{doc}`calling`", "{ref}`calling`"),
        ("[a](https://a.b)", "[a](https://a.es)"),
        ("Copyright %(years)s", "Copyright %(anos)s"),
    ],
)
def test_code_and_links_must_not_be_translated(source, translation):
    assert pieces(source) != pieces(translation)
