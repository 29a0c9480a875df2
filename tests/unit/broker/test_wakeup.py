"""A bell wakes who sleeps, and nobody is hurt when there is none."""

import threading
import time

import pytest

from framework.broker.wakeup import Bell, remove, ring

OWNER = 3


@pytest.fixture
def path(tmp_path):
    return tmp_path / "broker.db"


@pytest.fixture
def bell(path):
    bell = Bell(path, OWNER)
    yield bell
    bell.close()


def test_a_sleeper_is_woken_at_once(path, bell):
    threading.Timer(0.05, ring, (path, OWNER)).start()
    before = time.monotonic()

    bell.wait(10)

    assert time.monotonic() - before < 5
    assert bell.silence()


def test_a_ring_before_the_sleep_is_not_missed(path, bell):
    ring(path, OWNER)
    before = time.monotonic()

    bell.wait(10)

    assert time.monotonic() - before < 5


def test_a_bell_that_was_silenced_stays_silent(path, bell):
    ring(path, OWNER)
    bell.silence()

    assert not bell.silence()


def test_ringing_more_often_than_a_pipe_can_hold_does_not_block(path, bell):
    for _ in range(70_000):
        bell.ring()
    ring(path, OWNER)

    while bell.silence():
        pass


def test_ringing_for_somebody_who_is_gone_does_nothing(path):
    ring(path, OWNER)
    remove(path, OWNER)


def test_a_bell_left_behind_by_a_dead_process_is_replaced(path):
    left_behind = Bell(path, OWNER)

    bell = Bell(path, OWNER)
    ring(path, OWNER)

    assert bell.silence()
    assert not left_behind.silence()
    left_behind.close()
    bell.close()
