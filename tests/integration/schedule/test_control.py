"""Requests to the leader, on both brokers: which clock decides, and entries that only one side knows."""

from datetime import timedelta

import pytest

from framework.errors import UnknownEntry
from framework.schedule import Schedules

MINUTE = timedelta(seconds=60)


@pytest.fixture
def requests(app, work, monkeypatch):
    """Make requests of a process with its own configuration, while the leader works; call it before the leader's."""

    def of(leader, configured, method, *args):
        app.conf.beat_schedule = {name: {"task": "probe.work", "schedule": 60} for name in configured}
        schedules = Schedules(app)
        monkeypatch.setattr(
            "framework.schedule.control.ControlConnection._wait_for",
            lambda connection, replies: answered(leader, connection, replies),
        )
        return getattr(schedules, method)(*args)

    def answered(leader, connection, replies):
        work(leader, times=5)
        connection._connection.drain_events(timeout=10)
        assert replies

    return of


def test_a_pause_outlives_a_leader_that_does_not_know_the_entry(scheduler, lead, work, clock, sent, requests):
    """A16: in a rolling deploy, a scheduler with the older configuration led in between, and forgot the pause."""
    first = lead(scheduler(old=60, new=60))
    assert requests(first, ["old", "new"], "pause", "new")
    first.close()

    second = lead(scheduler(old=60))
    work(second)
    second.close()
    third = lead(scheduler(old=60, new=60))
    clock.advance(60)
    work(third)

    assert sent() == [("old", 60.0)]
    assert requests(third, ["old", "new"], "resume", "new")
    clock.advance(60)
    work(third)
    assert sorted(sent()) == [("new", 120.0), ("old", 120.0)]


def test_a_pause_of_an_entry_that_the_leader_does_not_know_holds_under_the_next_leader(
    scheduler, lead, work, clock, sent, requests
):
    """A16"""
    first = lead(scheduler(old=60))
    assert requests(first, ["old", "new"], "pause", "new")
    first.abandon()

    second = lead(scheduler(old=60, new=60))
    clock.advance(60)
    work(second)

    assert sent() == [("old", 60.0)]


def test_an_entry_that_only_the_leader_knows_can_be_paused(scheduler, lead, work, clock, sent, requests):
    """A16: it was listed, but refused as unknown."""
    first = lead(scheduler(old=60, leaders=60))

    assert requests(first, ["old"], "pause", "leaders")
    with pytest.raises(UnknownEntry, match="Did you mean 'leaders'"):
        requests(first, ["old"], "pause", "leader")
    clock.advance(60)
    work(first)

    assert sent() == [("old", 60.0)]


@pytest.mark.parametrize("apart", [timedelta(hours=1), timedelta(hours=-1)])
def test_the_leaders_clock_decides_when_an_entry_resumes(
    scheduler, lead, work, clock, sent, requests, monkeypatch, apart
):
    """A16: with the caller's clock an hour ahead, the entry stayed silent for that hour."""
    monkeypatch.setattr("framework.schedule.control.utc_now", lambda: clock.now + apart)
    entry = {"task": "probe.work", "schedule": 60, "missed": "all"}
    first = lead(scheduler(each=entry))
    requests(first, ["each"], "pause", "each")
    clock.advance(600)
    work(first)
    requests(first, ["each"], "resume", "each")
    first.abandon()
    second = lead(scheduler(each=entry))
    clock.advance(60)
    work(second)

    assert sent() == [("each", 660.0)]


def test_a_reset_entry_starts_from_the_leaders_clock_under_this_leader_and_the_next(
    scheduler, lead, work, clock, sent, requests
):
    """A16: a clock that was hours ahead silenced the entry for these hours."""
    first = lead(scheduler(each=60, other=60))
    clock.advance(7200)
    work(first)
    sent()
    clock.advance(-7200)
    work(first)

    assert requests(first, ["each", "other"], "reset", "each")
    clock.advance(60)
    work(first)
    first.abandon()
    second = lead(scheduler(each=60, other=60))
    clock.advance(60)
    work(second)

    assert sent() == [("each", 60.0), ("each", 120.0)]


def test_a_paused_entry_that_is_reset_stays_paused(scheduler, lead, work, clock, sent, requests):
    first = lead(scheduler(each=60))
    requests(first, ["each"], "pause", "each")
    requests(first, ["each"], "reset", "each")
    clock.advance(60)
    work(first)

    assert sent() == []
