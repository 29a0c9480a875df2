"""Record what the guide's terminals show: `make sessions`, or `python docs/record.py PAGE...`.

A page includes the files of `docs/sessions/`. Their lines that begin with ``$ `` are typed, in a fresh copy of the
project, in the page's order; what is shown is written below them. Where that is the same as what is there, but for
times, ids and the like, the file stays as it is; so lines may be left out by hand, with ``...`` in their place. For a
new session, write its commands alone.

`python docs/record.py stopwatch` follows the start page from nothing, which installs everything from the network, and
writes down how long that took.
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

from recording.pages import File, Typing  # noqa: E402
from recording.picture import picture  # noqa: E402
from recording.reader import Reader, Seen  # noqa: E402

from framework.testing.rabbitmq import RabbitMQ  # noqa: E402

PAGES = ("start", "bh-001", "bh-001-annex", "bh-002")
CHARACTERS_A_SECOND = 200 / 60
PICTURES = DOCS / "_static/sessions"


def main(names: list[str]) -> None:
    """Record the sessions of these pages, of all if none is named, and draw the pictures that pages show."""
    if names == ["stopwatch"]:
        return stopwatch(DOCS / "start.md")
    for name in names or PAGES:
        with RabbitMQ(name="rabbit") as node:
            record(DOCS / f"{name}.md", node)
    return draw()


def record(page: Path, node: RabbitMQ) -> None:
    """Follow a page with each broker, since some blocks are for one of them alone."""
    for rabbitmq in (None, node.url):
        with TemporaryDirectory() as home, Reader(Path(home), rabbitmq, node.output, records=True) as reader:
            for step, seen in reader.follow(page):
                if isinstance(step, Typing) and not all(one.as_expected for one in seen):
                    keep(page, step, seen)


def keep(page: Path, typing: Typing, seen: list[Seen]) -> None:
    """Write what was shown into the session's file, or show it where the page itself has the text."""
    text = "".join(map(told, seen))
    if typing.session is None or not text:
        sys.stderr.write(f"{page.name} says something else than this:\n{text}\n")
        return
    typing.session.write_text(text)
    sys.stderr.write(f"{typing.session.relative_to(DOCS)} is new\n")


def told(one: Seen) -> str:
    """A command and what was shown; the words that are there stay where they are still true."""
    shown = one.exchange.shown if one.as_expected else one.shown
    return f"$ {one.exchange.command}\n{shown}" if one.exchange.command else shown


def stopwatch(page: Path) -> None:
    """Follow a page from nothing and write down when each step was done."""
    told, typed, began = [], 0, time.monotonic()
    with TemporaryDirectory() as home, Reader(Path(home), records=True, prepared=False) as reader:
        for step, seen in reader.follow(page):
            commands = [str(one.exchange.command) for one in seen]
            typed += len(step.text) if isinstance(step, File) else sum(map(len, commands))
            minutes, seconds = divmod(round(time.monotonic() - began + typed / CHARACTERS_A_SECOND), 60)
            done = [f"{step.name} is written"] if isinstance(step, File) else [f"$ {command}" for command in commands]
            told.append(f"{minutes}:{seconds:02}  {done[-1]}\n")
    (DOCS / "sessions/stopwatch.txt").write_text("".join(told))


def draw() -> None:
    """Draw each picture that a page shows."""
    pages = "".join(page.read_text() for page in DOCS.glob("*.md"))
    for session in sorted((DOCS / "sessions").glob("*.txt")):
        if f"sessions/{session.stem}.svg" in pages:
            PICTURES.mkdir(parents=True, exist_ok=True)
            (PICTURES / f"{session.stem}.svg").write_text(picture(session.read_text(), session.stem))


if __name__ == "__main__":
    main(sys.argv[1:])
