"""What all tests share: a clean environment and, on both brokers, a clean broker for each test."""

import os
from collections.abc import Iterator

import pytest
from celery import _state
from hypothesis import settings

from framework.errors import RabbitMQMissing
from framework.testing.external_rabbitmq import BorrowedRabbitMQ
from framework.testing.rabbitmq import RabbitMQ

OURS = ("ACCOUNTS_", "CARDS_", "CELERY_", "DATABASE_", "EXPORT_", "FRAMEWORK_", "MAIL_", "RABBITMQ_", "YARA_")
# Settings of the person who runs the tests must not decide what they find; where to test is the exception.
SET_ASIDE = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(OURS)}

# How long an example takes depends on what else the machine does.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

WITHOUT_RABBITMQ = pytest.StashKey[str]()


@pytest.fixture(autouse=True)
def tasks_of_one_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery gives each task to every application that comes later; those of a test are no other test's business."""
    monkeypatch.setattr(_state, "_on_app_finalizers", set(_state._on_app_finalizers))


@pytest.fixture(scope="session")
def rabbitmq(request: pytest.FixtureRequest) -> Iterator[RabbitMQ | BorrowedRabbitMQ]:
    """One RabbitMQ for all tests; skips where there is none, but fails under ``CI=true``."""
    try:
        server = borrowed_or_private()
    except RabbitMQMissing as missing:
        if os.environ.get("CI") == "true":
            raise
        request.config.stash[WITHOUT_RABBITMQ] = missing.message
        pytest.skip(missing.message)
    with server:
        yield server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say once why the tests on RabbitMQ were skipped."""
    if WITHOUT_RABBITMQ in config.stash:
        terminalreporter.write_line(f"Skipped what needs RabbitMQ. {config.stash[WITHOUT_RABBITMQ]}", yellow=True)


def borrowed_or_private() -> RabbitMQ | BorrowedRabbitMQ:
    url = SET_ASIDE.get("RABBITMQ_URL")
    return BorrowedRabbitMQ(url, SET_ASIDE.get("RABBITMQ_MANAGEMENT_URL")) if url else RabbitMQ()


@pytest.fixture(params=["rabbitmq", "sqlite"])
def broker(request: pytest.FixtureRequest) -> str:
    """The name of the broker that the test runs on; the test runs once on each."""
    return request.param


@pytest.fixture
def broker_url(broker: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a broker on which nothing has been declared yet."""
    if broker == "rabbitmq":
        server = request.getfixturevalue("rabbitmq")
        url = server.vhost()
        yield url
        server.drop_vhost(url)
    else:
        yield f"sqlite:///{request.getfixturevalue('tmp_path')}/broker.db"
