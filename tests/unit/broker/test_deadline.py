"""`Deadline`: one time by which all steps of a call end (A3)."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from framework.broker.deadline import Deadline, bounded


class Clock:
    """A clock that a test moves."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


@pytest.mark.parametrize("booted", [0.0, 5.0, 1e9], ids=["just booted", "5 s ago", "30 years ago"])
def test_a_deadline_counts_down_and_never_below_zero_whenever_the_machine_was_booted(booted):
    clock = Clock(booted)
    deadline = Deadline(9.0, clock)

    clock.now += 4.0
    assert deadline.left == pytest.approx(5.0)
    assert not deadline.passed

    clock.now += 60.0
    assert deadline.left == 0.0
    assert deadline.passed


def test_a_wait_is_bounded_by_what_is_left():
    with Deadline.within(60):
        assert bounded(5.0) == 5.0
        assert 50 < bounded(100.0) <= 60
        assert 50 < bounded(None) <= 60


def test_a_wait_without_a_deadline_is_as_long_as_it_was():
    assert Deadline.current() is None
    assert bounded(5.0) == 5.0
    assert bounded(None) is None


@pytest.mark.parametrize(("outer", "inner"), [(60, 600), (600, 60), (60, None)])
def test_of_a_call_inside_a_call_the_earlier_deadline_holds(outer, inner):
    with Deadline.within(outer), Deadline.within(inner) as deadline:
        assert deadline.left <= 60
        assert Deadline.current() is deadline


def test_an_outer_deadline_holds_again_after_an_inner_call():
    with Deadline.within(600) as outer:
        with pytest.raises(OSError, match="lost"), Deadline.within(1):
            raise OSError("lost")

        assert Deadline.current() is outer

    assert Deadline.current() is None


def test_no_deadline_bounds_nothing():
    with Deadline.within(None):
        assert bounded(None) is None
        assert bounded(3.0) == 3.0


def test_a_deadline_holds_for_its_own_thread_alone():
    with Deadline.within(1), ThreadPoolExecutor(1) as other:
        assert other.submit(bounded, None).result() is None
