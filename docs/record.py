"""Record the output of the guide's terminals: `make sessions`, or `python docs/record.py PAGE...`.

A page includes the files of `docs/sessions/`. Their lines that begin with ``$ `` are typed, in a fresh copy of the
project, in the page's order, and the output is written below them. A file whose output differs in times, ids and the
like alone stays as it is, so lines may be left out by hand, with ``...`` in their place. A new session needs its
commands alone.

`python docs/record.py stopwatch` follows the start page in an empty folder, which installs everything from the network,
and records the time of each step.
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

from recording.pages import File, Typing  # noqa: E402
from recording.picture import picture  # noqa: E402
from recording.reader import Reader, Result  # noqa: E402

from framework.testing.rabbitmq import RabbitMQ  # noqa: E402

PAGES = ("start", "bh-001", "bh-001-annex", "bh-002")
CHARACTERS_PER_SECOND = 200 / 60
PICTURES = DOCS / "_static/sessions"


def main(names: list[str]) -> None:
    """Record the sessions of the named pages, or of all, and draw the pictures that pages show."""
    if names == ["stopwatch"]:
        return stopwatch(DOCS / "start.md")
    for name in names or PAGES:
        with RabbitMQ(name="rabbit") as node:
            record(DOCS / f"{name}.md", node)
    return draw()


def record(page: Path, node: RabbitMQ) -> None:
    """Follow a page with each broker, since some blocks are for one of them."""
    for rabbitmq in (None, node.url):
        with TemporaryDirectory() as home, Reader(Path(home), rabbitmq, node.output, records=True) as reader:
            for step, results in reader.follow(page):
                if isinstance(step, Typing) and not all(result.as_expected for result in results):
                    store(page, step, results)


def store(page: Path, typing: Typing, results: list[Result]) -> None:
    """Write the output into the session's file, or print it if the page itself has the text."""
    text = "".join(map(as_text, results))
    if typing.session is None or not text:
        sys.stderr.write(f"{page.name} has another output than this:\n{text}\n")
        return
    typing.session.write_text(text)
    sys.stderr.write(f"{typing.session.relative_to(DOCS)} is new\n")


def as_text(result: Result) -> str:
    """Return a command and its output, as the page has it if that is still true."""
    output = result.exchange.output if result.as_expected else result.output
    return f"$ {result.exchange.command}\n{output}" if result.exchange.command else output


def stopwatch(page: Path) -> None:
    """Follow a page in an empty folder and record when each step was done."""
    lines, typed, began = [], 0, time.monotonic()
    with TemporaryDirectory() as home, Reader(Path(home), records=True, prepared=False) as reader:
        for step, results in reader.follow(page):
            commands = [str(result.exchange.command) for result in results]
            typed += len(step.text) if isinstance(step, File) else sum(map(len, commands))
            minutes, seconds = divmod(round(time.monotonic() - began + typed / CHARACTERS_PER_SECOND), 60)
            done = [f"{step.name} is written"] if isinstance(step, File) else [f"$ {command}" for command in commands]
            lines.append(f"{minutes}:{seconds:02}  {done[-1]}\n")
    (DOCS / "sessions/stopwatch.txt").write_text("".join(lines))


def draw() -> None:
    """Draw each picture that a page shows."""
    pages = "".join(page.read_text() for page in DOCS.glob("*.md"))
    for session in sorted((DOCS / "sessions").glob("*.txt")):
        if f"sessions/{session.stem}.svg" in pages:
            PICTURES.mkdir(parents=True, exist_ok=True)
            (PICTURES / f"{session.stem}.svg").write_text(picture(session.read_text(), session.stem))


if __name__ == "__main__":
    main(sys.argv[1:])
