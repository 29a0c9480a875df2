"""Fixtures of the chaos tests, and the table of their results."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # the harness is shared by the tests of this folder alone

from harness.rig import ALL_ROWS, SCALE, Rig  # noqa: E402
from harness.table import Row, table, write_json, write_measured  # noqa: E402

from framework.testing.rabbitmq import RabbitMQ  # noqa: E402

collect_ignore = ["harness"]
ROWS = pytest.StashKey[list[Row]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []
    config.addinivalue_line("markers", "full_run: takes long; only `make chaos` runs it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(900))
    too_long = [] if ALL_ROWS else [item for item in items if item.get_closest_marker("full_run")]
    items[:] = [item for item in items if item not in too_long]
    config.hook.pytest_deselected(items=too_long)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash[ROWS]
    if not rows:
        return
    terminalreporter.section(f"chaos, scale {SCALE:g}: ours, and [plain Celery] in brackets")
    for line in table(rows):
        terminalreporter.write_line(line)
    write_json(rows, HERE / "results.json")
    if SCALE == 1:
        write_measured(rows, HERE.parents[1] / "benchmarks/results/partition.json")


@pytest.fixture(scope="session")
def node(release: str | None) -> Iterator[RabbitMQ]:
    """A RabbitMQ that tests may kill."""
    with RabbitMQ(release=release) as private:
        yield private


@pytest.fixture
def rows(pytestconfig: pytest.Config) -> list[Row]:
    return pytestconfig.stash[ROWS]


@pytest.fixture
def rig(request: pytest.FixtureRequest, tmp_path: Path, rows: list[Row]) -> Iterator[Rig]:
    """A rig, parametrized with the profile by each test."""
    if request.param == "sqlite":
        made = Rig("sqlite", tmp_path, f"sqlite:///{tmp_path}/broker.db", rows)
    else:
        server = request.getfixturevalue("node")
        made = Rig(request.param, tmp_path, server.vhost(), rows, server)
    yield made
    made.close()
