"""A plugin of pytest for tests of tasks: ``pytest_plugins = ["framework.testing.pytest_plugin"]`` in ``conftest.py``.

With it, whatever a test calls goes to an embedded broker of the test run, in a temporary folder, and never to the
broker of the settings. ``pytest --task-broker URL`` runs the same tests on another broker, which should be empty.

==================  ====================================================================
fixture             what it gives
==================  ====================================================================
``task_broker``     the URL of that broker
``task_worker``     a `framework.testing.worker.Worker` on it, in processes of its own
==================  ====================================================================

There is one of each for the whole run; the worker starts when the first test asks for it.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from framework.testing.worker import Worker

__all__ = ["task_broker", "task_worker"]

BROKER = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Called by pytest for the options of its command line."""
    parser.addoption("--task-broker", metavar="URL", help="the broker of this run, instead of an embedded one")


def pytest_configure(config: pytest.Config) -> None:
    """Called by pytest before it reads any test: an application that had connected already would stay where it is."""
    folder = TemporaryDirectory(prefix="broker-")
    config.add_cleanup(folder.cleanup)
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    config.stash[BROKER] = config.getoption("--task-broker") or f"sqlite:///{Path(folder.name) / 'broker.db'}"
    patch.setenv("CELERY_BROKER_URL", config.stash[BROKER])


@pytest.fixture(scope="session")
def task_broker(pytestconfig: pytest.Config) -> str:
    """The URL of the broker to which all calls of this run go."""
    return pytestconfig.stash[BROKER]


@pytest.fixture(scope="session")
def task_worker(task_broker: str) -> Iterator[Worker]:
    """A worker that runs what is called; it has the environment that there is when the first test asks for it."""
    with Worker(task_broker) as worker:
        yield worker
