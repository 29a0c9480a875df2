"""Reads the steps of a page in order: files to write, and commands to type into a terminal."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(
    r"^(?P<ticks>`{3,})(?P<kind>\{[\w-]+\}|\w+)?[ ]*(?P<argument>[^\n]*)\n(?P<body>.*?)^(?P=ticks)$",
    re.MULTILINE | re.DOTALL,
)
OPTION = re.compile(r":([\w-]+):[ ]*(.*)")
PART_OF_A_FILE = {"lines", "pyobject", "start-after", "start-at", "end-before", "end-at"}


class PageError(Exception):
    """A page that cannot be followed."""


class File(NamedTuple):
    """A file that the reader writes."""

    name: str
    text: str


class Exchange(NamedTuple):
    """A command and its output on the page; without a command, the next output of a busy terminal."""

    command: str | None
    output: str


class Typing(NamedTuple):
    """The commands in one block of the page, and the file `session` that they are recorded in, if any."""

    exchanges: list[Exchange]
    session: Path | None


class Block(NamedTuple):
    kind: str
    argument: str
    options: dict[str, str]
    text: str


def steps(page: Path, broker: str) -> Iterator[File | Typing]:
    """Yield the page's steps for a broker, ``rabbitmq`` or ``embedded``; a block's class names its broker."""
    for block in _blocks(page.read_text()):
        if not {"rabbitmq", "embedded"} & set(block.options.get("class", "").split()) - {broker}:
            yield from _step(page, block)


def exchanges(text: str) -> list[Exchange]:
    """Split a terminal's text before each line that begins with the prompt."""
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)
    first = [Exchange(None, parts[0])] if parts[0].strip() else []
    return first + [Exchange(*part.partition("\n")[::2]) for part in parts[1:]]


def _step(page: Path, block: Block) -> Iterator[File | Typing]:
    included = (page.parent / block.argument).resolve() if block.kind == "{literalinclude}" else None
    text = included.read_text() if included else block.text
    if "console" in (block.kind, block.argument, block.options.get("language")):
        yield Typing(exchanges(text), included)
    elif "caption" in block.options and not _is_file_of_project(page, block, included):
        if PART_OF_A_FILE & block.options.keys():
            raise PageError(f"{page.name}: a part of {block.argument} cannot be written as a file.")
        yield File(block.options["caption"], text)


def _is_file_of_project(page: Path, block: Block, included: Path | None) -> bool:
    """Return whether the block shows a file of the project, in the place that its caption names."""
    return included == (page.parent.parent / block.options["caption"]).resolve()


def _blocks(text: str) -> Iterator[Block]:
    for found in FENCE.finditer(text):
        options, lines = {}, found["body"].splitlines(keepends=True)
        while found["kind"] and found["kind"].startswith("{") and lines and (option := OPTION.match(lines[0])):
            options[option[1]] = option[2].strip()
            del lines[0]
        yield Block(found["kind"] or "", found["argument"].strip(), options, "".join(lines).lstrip("\n"))
