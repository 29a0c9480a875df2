"""Names are the field's words: no module, class or function is called by a word that only this project would use."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]  # the repository
FOLDERS = ["framework", "demo", "benchmarks", "tests", "docs/extensions", "docs/recording", "docs/gates"]

# Each with the words to use instead.
INSTEAD = {
    "tell tells telling teller told": "report, publish",
    "letter letters": "message (a dead letter is AMQP's word)",
    "hand hands handed handing": "deliver, dispatch, requeue",
    "settle settles settled settling": "acknowledge",
    "bury buries buried burying": "dead-letter",
    "ask asks asked asking question questions": "request",
    "patience patient patiently": "timeout, retry until",
    "bell bells button buttons": "wake-up pipe",
    "term terms": "leadership",
    "facts kept": "failure headers, stored properties",
    "shown": "sanitized, redacted, displayed",
    "door doors room rooms floor floors house": "entry point, package, layer, project",
    "cure cures cured mend mends mended mending": "fix",
    "wrong": "invalid, error",
    "somebody nobody whoever whatever anew": "name who does it",
    "moment moments instant instants": "time, datetime",
    "stranded stranger strangers": "undelivered, visitor",
}
PHRASES = {
    "let go": "acknowledge, release",
    "lets go": "acknowledge, release",
    "try again": "retry",
    "tried again": "retry",
}
WORDS = PHRASES | {word: better for words, better in INSTEAD.items() for word in words.split()}

# The words of others: AMQP's, Celery's, Python's.
ALLOWED = {"dead letter", "dead letters"}


def test_no_module_class_or_function_has_a_word_of_ours_alone():
    found = [
        f"{file}: {name} (not {word!r}, but {WORDS[word]})"
        for folder in FOLDERS
        for file, name in names(ROOT / folder)
        for word in words(name)
        if word in WORDS
    ]

    assert found == []


@pytest.mark.parametrize(
    "name", ["tell_queued", "LetterBox", "test_nobody_is_told", "last_instant", "handOver", "try_again"]
)
def test_a_word_of_ours_is_noticed(name):
    assert WORDS.keys() & words(name)


@pytest.mark.parametrize(
    "name", ["dead_letter", "test_dead_letters_are_counted", "Terminal", "LeaderConnection", "handler"]
)
def test_a_word_of_the_field_is_left_alone(name):
    assert not WORDS.keys() & words(name)


def names(folder):
    """The modules, classes and functions below a folder, each with its file."""
    for file in sorted(folder.rglob("*.py")):
        if "_build" in file.parts:
            continue
        where = file.relative_to(ROOT)
        yield where, file.parent.name if file.stem == "__init__" else file.stem
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield f"{where}:{node.lineno}", node.name


def words(name):
    """The words of a name, without those that belong to a term of others."""
    text = " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)).lower()
    for term in ALLOWED:
        text = re.sub(rf"\b{term}\b", "", text)
    return set(text.split()) | {phrase for phrase in PHRASES if re.search(rf"\b{phrase}\b", text)}
