"""The start page and the case studies, followed literally in a fresh folder: the output is the page's."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from recording.picture import picture
from recording.reader import Reader
from recording.transcript import difference, same

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FOLLOWED = ("start", "bh-001", "bh-001-annex", "bh-002")


@pytest.fixture(scope="module", params=["rabbitmq", "sqlite"])
def differences(request, tmp_path_factory):
    """How the output of each page's commands differs from the page; the pages are followed in parallel."""
    server = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else None
    if server and not hasattr(server, "output"):
        pytest.skip("an external RabbitMQ has no console to read")

    homes = [tmp_path_factory.mktemp(page) for page in FOLLOWED]
    brokers = [(server.vhost(), server.output) if server else () for _ in FOLLOWED]

    def follow(page, home, broker):
        with Reader(home, *broker) as reader:
            return list(differences_from(DOCS / f"{page}.md", reader))

    with ThreadPoolExecutor(len(FOLLOWED)) as readers:
        return dict(zip(FOLLOWED, readers.map(follow, FOLLOWED, homes, brokers), strict=True))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", FOLLOWED)
def test_following_a_page_gives_the_output_that_it_shows(differences, page):
    assert differences[page], "the page has no steps"
    assert "".join(differences[page]) == ""


def test_a_line_of_an_example_that_breaks_is_noticed(tmp_path):
    guide = tmp_path / "docs"
    shutil.copytree(DOCS, guide, ignore=shutil.ignore_patterns("_build", "locales"))
    (guide / "sessions/start-run.txt").write_text("")
    example = guide / "examples/start/hello.py"
    example.write_text(example.read_text().replace('return f"Hello, {name}"', 'return f"Hallo, {name}"'))

    with Reader(tmp_path / "home") as reader:
        differences = "".join(differences_from(guide / "start.md", reader))

    assert "- Hello, Ann\n" in differences
    assert "+ Hallo, Ann\n" in differences


@pytest.mark.parametrize("session", sorted(path.stem for path in (DOCS / "_static/sessions").glob("*.svg")))
def test_a_picture_has_the_text_of_its_session(session):
    text = (DOCS / f"sessions/{session}.txt").read_text()

    assert (DOCS / f"_static/sessions/{session}.svg").read_text() == picture(text, session)


def test_the_speed_of_the_embedded_broker_on_the_page_is_the_measured_one():
    medians = json.loads((ROOT / "benchmarks/results/embedded.json").read_text())["medians"]
    page = (DOCS / "bh-001.md").read_text()

    for measured, form in {"delay()": "{:,.0f}", "drain": "{:,.0f}", "p50 ms": "{:.1f} ms"}.items():
        embedded, rabbitmq = (form.format(medians[broker][measured]) for broker in ("ours", "rabbitmq"))
        assert f"| {embedded} | {rabbitmq} |" in page, measured


def test_every_session_is_on_a_page_that_is_followed():
    pages = "".join((DOCS / f"{page}.md").read_text() for page in FOLLOWED)

    assert all(f"sessions/{path.name}" in pages for path in (DOCS / "sessions").glob("*.txt"))


def test_no_session_names_the_machine_it_was_recorded_on():
    recorded = "".join(path.read_text() for path in (DOCS / "sessions").glob("*.txt"))

    assert os.uname().release not in recorded
    assert str(ROOT) not in recorded
    assert "/tmp/" not in recorded
    assert "/root" not in recorded


def test_ids_and_times_are_no_difference_and_other_text_is():
    assert same(
        "id 00000000-0000-4000-8000-000000000000 in 0.5 s\n", "id 11111111-1111-4111-8111-111111111111 in 2 s\n"
    )
    assert same("first\n...\nlast\n", "first\nmore\nlast\n")
    assert not same("first\nlast\n", "first\nmore\nlast\n")
    assert not same("Hello, Ann\n", "Hello, Ben\n")
    assert not same("...\nHello, Ann\n", "Hello, Ben\n")


def differences_from(page, reader):
    """Yield for each command of the page how its output differs, or an empty text."""
    for _, results in reader.follow(page):
        for result in results:
            expected, command = result.exchange.output, result.exchange.command
            yield "" if result.as_expected else f"$ {command}\n{difference(expected, result.output)}\n"
