"""Every word of the built guide is in the dictionary of its language, or in our word list beside the pages."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

DICTIONARIES = {"en": "en_US", "es": "es_ES"}
NOT_WORDS = re.compile(r"\S*(?:://|@)\S*|\w+(?:[._/]+\w+)+")
WORD = re.compile(r"(?<!\w)[^\W\d_]+(?:['\u2019][^\W\d_]+)*(?![\w])")
CODE = "pre, code, kbd, samp, script, style, .sig, .headerlink, .field-list strong, .field-list a"


@pytest.fixture(scope="session")
def words(pages):
    """Each word of a language, with the pages that have it."""
    found = {language: {} for language in DICTIONARIES}
    for page in (page for page in pages if page.is_written):
        for word in WORD.findall(NOT_WORDS.sub(" ", prose(page))):
            found[page.language].setdefault(word.replace("\u2019", "'").removesuffix("'s"), set()).add(page.name)
    return found


def prose(page):
    """Return the text of a page in its own language, with its diagrams and alternative texts, without code."""
    article = BeautifulSoup(str(page.soup.find("article")), "html.parser")
    for other in article.select(CODE):
        other.decompose()
    for other in article.find_all(lang=lambda lang: lang and lang != page.language):
        other.decompose()
    alternatives = [tag.get("alt") or tag["aria-label"] for tag in article.select("img[alt], svg[aria-label]")]
    return " ".join([article.get_text(" "), *alternatives])


def our_words(language):
    path = Path(__file__).parents[1] / f"words.{language}.txt"
    return path.read_text(encoding="utf-8").split()


def unknown(words, language):
    """Return the words that are not in the dictionary, or of which a part is not."""
    command = ["hunspell", "-L", "-i", "utf-8", "-d", DICTIONARIES[language]]
    return subprocess.run(command, input="\n".join(words), capture_output=True, text=True, check=True).stdout.split()


def forms(word):
    return {word, word.lower()}


@pytest.mark.parametrize("language", DICTIONARIES)
def test_every_word_is_spelled_correctly(words, language, needed):
    if not shutil.which("hunspell"):
        needed("Spelling is not checked: install hunspell, hunspell-en-us and hunspell-es.")
    ours = set(our_words(language))
    misspelled = [word for word in sorted(set(unknown(words[language], language))) if not forms(word) & ours]
    report = "\n".join(f"{word}: {', '.join(sorted(words[language][word]))}" for word in misspelled)
    assert not misspelled, f"Correct, mark as code, or add to docs/words.{language}.txt:\n{report}"


@pytest.mark.parametrize("language", DICTIONARIES)
def test_every_word_of_ours_is_used(words, language):
    used = {form for word in words[language] for form in forms(word)}
    assert set(our_words(language)) - used == set()


@pytest.mark.parametrize("language", DICTIONARIES)
def test_our_words_are_sorted_and_each_is_there_once(language):
    assert our_words(language) == sorted(set(our_words(language)), key=lambda word: (word.lower(), word))
