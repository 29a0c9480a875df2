"""Schedulers in the test's process, on both brokers, driven by a clock that the test sets."""

from datetime import UTC, datetime, timedelta

import pytest
from kombu import Connection

from framework.schedule.entries import entries_of
from framework.schedule.leader import Leadership

START = datetime(2026, 11, 21, 12, 0, 0, 500_000, tzinfo=UTC)


class Clock:
    """A clock that the test moves."""

    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def scheduler(app, clock, broker_url):
    """Start a scheduler with a configuration; ``{name: seconds}``, or whole entries."""
    started = []

    def start(at=clock, postponed=None, **schedule):
        app.conf.beat_schedule = {
            name: given if isinstance(given, dict) else {"task": "probe.work", "schedule": given, "args": (name,)}
            for name, given in schedule.items()
        }
        started.append(Leadership(app, entries_of(app), at, postponed))
        return started[-1]

    yield start
    for leadership in started:
        leadership.abandon()


@pytest.fixture
def channel(broker_url, app):
    with Connection(broker_url, transport_options={"confirm_publish": True}) as connection:
        app.amqp.failed_queue(connection.default_channel).declare()
        app.amqp.queues["celery"](connection.default_channel).declare()
        yield connection.default_channel


@pytest.fixture
def sent(channel, eventually):
    """Read the sent tasks from a queue: entry, and seconds from noon to its slot."""

    def read(queue="celery"):
        found = []
        while (message := channel.basic_get(queue, no_ack=True)) is not None:
            slot = datetime.fromisoformat(message.headers["x-schedule-slot"])
            assert "BCC" not in message.headers
            found.append((message.headers["x-schedule-entry"], (slot - START).total_seconds() + 0.5))
        return found

    return read


@pytest.fixture
def lead(eventually):
    """Let a scheduler work until it leads."""

    def until(leadership):
        def leads():
            leadership.work(0.02)
            return leadership.leads_since

        eventually(leads, 20)
        return leadership

    return until


@pytest.fixture
def work():
    """Let schedulers read their records and send their due entries."""

    def let(*schedulers, times=15):
        for _ in range(times):
            for each in schedulers:
                each.work(0.01)

    return let
