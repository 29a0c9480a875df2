"""Schedulers are killed and stopped, and the broker is: each slot is sent once."""

import random
import statistics
import time

import pytest
from harness.profiles import ON_A_SERVER, OURS, on
from harness.rig import FULL, scaled
from harness.schedulers import Schedulers

from framework.schedule.leader_connection import HEARTBEAT_SECONDS

#: Seconds after which RabbitMQ closes a silent connection, at most.
CONNECTION_TIMEOUT = 18.0


@pytest.fixture
def schedulers(rig):
    """A function that starts schedulers on a rig."""
    started = []

    def start(count, *periods):
        started.append(Schedulers(rig, count, *periods))
        return started[-1]

    yield start
    for each in started:
        each.end()


def report(rig, schedulers, fault):
    figures = schedulers.finish()
    rig.report(fault, f"{schedulers.slots} slots", figures, *schedulers.remarks())
    if rig.ours:
        assert figures.duplicated == 0
    return figures


def check_failovers(schedulers):
    """Assert that a fail-over takes less than a second, and where other tests run too, less than a heartbeat."""
    if FULL:
        assert max(schedulers.failovers) < 1
    else:
        assert statistics.median(schedulers.failovers) < HEARTBEAT_SECONDS


@on(ON_A_SERVER)
def test_three_schedulers_side_by_side(rig, schedulers):
    three = schedulers(3, 1, 2)

    time.sleep(60)

    report(rig, three, "3 schedulers")


@on(OURS, short=OURS)
def test_the_leader_of_three_schedulers_is_killed_repeatedly(rig, schedulers):
    three = schedulers(3, 1, 2)

    for _ in range(scaled(25, 4)):
        time.sleep(6 if FULL else 1)
        three.fork()
        three.kill_leader()

    report(rig, three, "3 schedulers, leader kill -9")
    check_failovers(three)


@on(["rabbitmq"], short=["rabbitmq"])
def test_the_leader_is_stopped_and_continues_when_another_leads(rig, schedulers):
    three = schedulers(3, 1, 2)

    for _ in range(scaled(4)):
        time.sleep(3 if FULL else 1)
        three.stop_leader(25 if FULL else 0)

    report(rig, three, "3 schedulers, leader SIGSTOP")
    assert max(three.failovers) < CONNECTION_TIMEOUT + (0 if FULL else 30)


@on(["rabbitmq"], short=["rabbitmq"])
def test_the_broker_is_killed_under_three_schedulers(rig, schedulers):
    three = schedulers(3, 1, 2)

    for _ in range(scaled(5)):
        time.sleep(10 if FULL else 3)  # RabbitMQ 3.10 writes a new quorum queue to disk within a second
        three.kill_broker(away=2 if FULL else 0)

    report(rig, three, "3 schedulers, broker kill -9")


@on(["rabbitmq"])
def test_a_hundred_schedulers_of_which_a_third_are_killed_while_they_lead(rig, schedulers):
    count, kills = (100, 33) if FULL else (20, 6)
    many = schedulers(count, 1, 2)

    for _ in range(kills):
        time.sleep(2.5 if FULL else 0.5)
        many.kill_leader()

    report(rig, many, f"{count} schedulers, leader kill -9")
    check_failovers(many)


@on(["sqlite"], short=["sqlite"])
def test_eight_schedulers_on_one_file_are_killed_at_random(rig, schedulers):
    eight = schedulers(8, 0.2, 1)

    for _ in range(scaled(100, 15)):
        time.sleep(random.random() * 0.6)
        eight.fork()
        eight.kill_leader()

    report(rig, eight, "8 schedulers, leader kill -9")
    check_failovers(eight)


@on(ON_A_SERVER)
def test_one_scheduler_is_killed_and_started_again_after_two_seconds(rig, schedulers):
    one = schedulers(1, 1, 2)

    for _ in range(6):
        time.sleep(8)
        one.kill_only()
        time.sleep(2)
        one.fork()

    report(rig, one, "1 scheduler, kill -9, back after 2 s")
