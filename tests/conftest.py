"""Fixtures of all tests: a clean environment and, on both brokers, a clean broker for each test."""

import os
import signal
from collections.abc import Iterator
from weakref import WeakSet

import pytest
from celery import _state
from hypothesis import HealthCheck, settings

from framework.errors import RabbitMQMissing
from framework.testing.external_rabbitmq import ExternalRabbitMQ
from framework.testing.rabbitmq import RabbitMQ
from framework.testing.rabbitmq_releases import find

SETTING_PREFIXES = (
    "ACCOUNTS_",
    "CARDS_",
    "CELERY_",
    "DATABASE_",
    "EXPORT_",
    "FRAMEWORK_",
    "MAIL_",
    "RABBITMQ_",
    "YARA_",
)
# The user's settings must not affect the tests; only RABBITMQ_URL and RABBITMQ_MANAGEMENT_URL are used.
SET_ASIDE = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(SETTING_PREFIXES)}

# A shell's background job ignores Ctrl-C, and so would each command that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes, or takes to be made, depends on what else the machine does.
# CI runs the same examples each time; TEST_EXPLORE=1 makes new ones.
settings.register_profile(
    "shared machine",
    deadline=None,
    derandomize=not os.environ.get("TEST_EXPLORE"),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("shared machine")

WITHOUT_RABBITMQ = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rabbitmq-release",
        metavar="RELEASE",
        help="Run only what needs RabbitMQ, on this release, installed with `python -m framework.testing.rabbitmq "
        "install RELEASE`.",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs no RabbitMQ, where a release of it is tested."""
    if config.getoption("rabbitmq_release") is None:
        return
    others = [item for item in items if not needs_rabbitmq(item)]
    items[:] = [item for item in items if needs_rabbitmq(item)]
    config.hook.pytest_deselected(items=others)


def needs_rabbitmq(item: pytest.Item) -> bool:
    params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    fixtures = getattr(item, "fixturenames", ())
    if broker := params.get("broker", params.get("rig")):
        return broker != "sqlite"
    return not {"rabbitmq", "release"}.isdisjoint(fixtures)


@pytest.fixture(autouse=True)
def tasks_of_one_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo a test's registrations: Celery adds each shared task to every other application, of later tests too."""
    monkeypatch.setattr(_state, "_on_app_finalizers", set(_state._on_app_finalizers))
    monkeypatch.setattr(_state, "_apps", WeakSet(_state._apps))


@pytest.fixture(scope="session")
def release(pytestconfig: pytest.Config) -> str | None:
    """The release of RabbitMQ that is tested; None for the one of this machine. Skips where it is not installed."""
    chosen: str | None = pytestconfig.getoption("rabbitmq_release")
    try:
        find(chosen)
    except RabbitMQMissing as missing:
        if os.environ.get("CI") == "true":
            raise
        pytestconfig.stash[WITHOUT_RABBITMQ] = missing.message
        pytest.skip(missing.message)
    return chosen


@pytest.fixture(scope="session")
def rabbitmq(request: pytest.FixtureRequest) -> Iterator[RabbitMQ | ExternalRabbitMQ]:
    """One RabbitMQ for all tests; skips where there is none, but fails under ``CI=true``."""
    url = SET_ASIDE.get("RABBITMQ_URL")
    if url and request.config.getoption("rabbitmq_release") is None:
        server: RabbitMQ | ExternalRabbitMQ = ExternalRabbitMQ(url, SET_ASIDE.get("RABBITMQ_MANAGEMENT_URL"))
    else:
        server = RabbitMQ(release=request.getfixturevalue("release"))
    with server:
        yield server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print once why the tests on RabbitMQ were skipped."""
    if WITHOUT_RABBITMQ in config.stash:
        terminalreporter.write_line(f"Skipped what needs RabbitMQ. {config.stash[WITHOUT_RABBITMQ]}", yellow=True)


@pytest.fixture(params=["rabbitmq", "sqlite"])
def broker(request: pytest.FixtureRequest) -> str:
    """The name of the test's broker; the test runs once on each."""
    return request.param


@pytest.fixture
def broker_url(broker: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty broker."""
    if broker == "rabbitmq":
        server = request.getfixturevalue("rabbitmq")
        url = server.vhost()
        yield url
        server.drop_vhost(url)
    else:
        yield f"sqlite:///{request.getfixturevalue('tmp_path')}/broker.db"
