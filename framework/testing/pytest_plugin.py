"""A pytest plugin for tests of tasks: ``pytest_plugins = ["framework.testing.pytest_plugin"]`` in ``conftest.py``.

With it, all calls go to an embedded broker of the test run, in a temporary folder, and never to the broker of the
settings. ``pytest --task-broker URL`` runs the same tests on another broker, which should be empty.

==================  ====================================================================
fixture             value
==================  ====================================================================
``task_broker``     the URL of that broker
``task_worker``     a `framework.testing.worker.Worker` on it, in processes of its own
==================  ====================================================================

There is one of each for the whole run; the worker starts with the first test that uses it.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from framework.testing.worker import BROKER_VARIABLES, Worker

__all__ = ["task_broker", "task_worker"]

BROKER = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option ``--task-broker``."""
    parser.addoption("--task-broker", metavar="URL", help="the broker of this run, instead of an embedded one")


def pytest_configure(config: pytest.Config) -> None:
    """Set the broker before any test is imported: an application that has connected would keep its broker."""
    folder = TemporaryDirectory(prefix="broker-")
    config.add_cleanup(folder.cleanup)
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    config.stash[BROKER] = config.getoption("--task-broker") or f"sqlite:///{Path(folder.name) / 'broker.db'}"
    for name in BROKER_VARIABLES:
        patch.setenv(name, config.stash[BROKER])


@pytest.fixture(scope="session")
def task_broker(pytestconfig: pytest.Config) -> str:
    """The URL of the broker of this run."""
    return pytestconfig.stash[BROKER]


@pytest.fixture(scope="session")
def task_worker(task_broker: str) -> Iterator[Worker]:
    """A worker on that broker; it has the environment of the first test that uses it."""
    with Worker(task_broker) as worker:
        yield worker
