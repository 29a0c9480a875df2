"""Clocks that are set, and servers whose clocks differ, on both brokers."""

from datetime import timedelta

import pytest

from framework.schedule.state import LONGEST_CLOCK_DIFFERENCE

HOUR, DAY = 3600, 86400


def clock_at(clock, seconds):
    """Return a clock that differs from the test's."""
    return lambda: clock.now + timedelta(seconds=seconds)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_clock_that_jumps_an_hour_and_back_under_its_leader_repeats_and_misses_no_slot(
    scheduler, lead, work, clock, sent, jump
):
    entry = {"task": "probe.work", "schedule": 600, "missed": "all"}
    first = lead(scheduler(each=entry))
    for seconds in (600, jump, 600, -jump, 600, 600, HOUR, 600):
        clock.advance(seconds)
        work(first)

    slots = [slot for _, slot in sent()]
    assert slots == [600.0 * number for number in range(1, len(slots) + 1)]
    assert slots[-1] == 5 * 600 + HOUR


def test_leaders_whose_clocks_differ_by_minutes_take_turns_without_a_slot_twice_or_missed(
    scheduler, lead, work, clock, sent
):
    entry = {"task": "probe.work", "schedule": 60, "missed": "all"}
    for apart in (0, 180, -180, 300, -300, 0):
        leader = lead(scheduler(at=clock_at(clock, apart), each=entry))
        clock.advance(120)
        work(leader)
        leader.abandon()

    slots = [slot for _, slot in sent()]
    assert slots == [60.0 * number for number in range(1, len(slots) + 1)]
    assert slots[-1] == 4 * 120 + 300


def test_a_leader_whose_clock_was_days_ahead_silences_no_entry_and_repeats_none_of_its_slots(
    scheduler, lead, work, clock, sent, caplog
):
    """A16: every slot up to that date counted as sent."""
    ahead = lead(scheduler(at=clock_at(clock, 3 * DAY), each=HOUR))
    clock.advance(HOUR)
    work(ahead)
    ahead.abandon()
    assert sent() == [("each", 3.0 * DAY + HOUR)]

    second = lead(scheduler(each=HOUR))
    assert "the last slots of 'each' lie more than a day ahead" in caplog.text
    clock.advance(HOUR)
    work(second)
    assert sent() == [("each", 2.0 * HOUR)]
    second.abandon()

    # the slots of that clock have come: they are not run again
    clock.advance(3 * DAY - HOUR)
    third = lead(scheduler(each=HOUR))
    work(third)
    assert sent() == []
    clock.advance(HOUR)
    work(third)
    assert sent() == [("each", 3.0 * DAY + 2 * HOUR)]


def test_a_clock_that_is_set_days_ahead_and_back_under_its_leader_silences_no_entry(
    scheduler, lead, work, clock, sent, caplog
):
    """A16: a clock that is set, not another server's."""
    first = lead(scheduler(each=HOUR))
    clock.advance(400 * DAY)
    work(first)
    assert sent() == [("each", 400.0 * DAY)]
    clock.advance(-400 * DAY + HOUR)
    work(first)
    assert sent() == []
    clock.advance(HOUR)
    work(first)

    assert sent() == [("each", 2.0 * HOUR)]
    assert caplog.text.count("lie more than a day ahead") == 1


def test_a_clock_within_a_zone_of_the_last_slot_waits_with_a_warning(scheduler, lead, work, clock, sent, caplog):
    first = lead(scheduler(each=HOUR))
    clock.advance(LONGEST_CLOCK_DIFFERENCE.total_seconds())
    work(first)
    assert len(sent()) == 1
    clock.advance(-LONGEST_CLOCK_DIFFERENCE.total_seconds())
    work(first)
    clock.advance(HOUR)
    work(first)

    assert sent() == []
    assert "s behind the last slot of 'each'; nothing runs twice, so it waits" in caplog.text


def test_a_retry_is_not_put_off_by_a_clock_that_was_ahead(scheduler, lead, work, clock, sent, app):
    class Moody(app.Task):
        publishes = False

        def apply_async(self, *args, **options):
            return super().apply_async(*args, **options) if Moody.publishes else None

    @app.task(name="local.moody", base=Moody, shared=False)
    def moody(): ...

    first = lead(scheduler(each={"task": "local.moody", "schedule": 60}))
    clock.advance(60)
    work(first)
    clock.advance(HOUR)
    work(first)
    clock.advance(-HOUR)
    Moody.publishes = True
    work(first)

    assert sent() == [("each", 60.0)]
