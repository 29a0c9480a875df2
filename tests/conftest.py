"""Fixtures of all tests: a clean environment and, on both brokers, a clean broker for each test."""

import os
from collections.abc import Iterator

import pytest
from celery import _state
from hypothesis import HealthCheck, settings

from framework.errors import RabbitMQMissing
from framework.testing.external_rabbitmq import ExternalRabbitMQ
from framework.testing.rabbitmq import RabbitMQ

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


@pytest.fixture(autouse=True)
def tasks_of_one_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo a test's registrations: Celery adds each shared task to every application that is made later."""
    monkeypatch.setattr(_state, "_on_app_finalizers", set(_state._on_app_finalizers))


@pytest.fixture(scope="session")
def rabbitmq(request: pytest.FixtureRequest) -> Iterator[RabbitMQ | ExternalRabbitMQ]:
    """One RabbitMQ for all tests; skips where there is none, but fails under ``CI=true``."""
    try:
        server = external_or_private()
    except RabbitMQMissing as missing:
        if os.environ.get("CI") == "true":
            raise
        request.config.stash[WITHOUT_RABBITMQ] = missing.message
        pytest.skip(missing.message)
    with server:
        yield server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print once why the tests on RabbitMQ were skipped."""
    if WITHOUT_RABBITMQ in config.stash:
        terminalreporter.write_line(f"Skipped what needs RabbitMQ. {config.stash[WITHOUT_RABBITMQ]}", yellow=True)


def external_or_private() -> RabbitMQ | ExternalRabbitMQ:
    url = SET_ASIDE.get("RABBITMQ_URL")
    return ExternalRabbitMQ(url, SET_ASIDE.get("RABBITMQ_MANAGEMENT_URL")) if url else RabbitMQ()


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
