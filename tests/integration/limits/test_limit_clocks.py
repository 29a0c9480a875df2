"""Limits and other clocks: young machines, clocks that are set, callers whose clocks differ, suspended callers."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from kombu import pools

from framework.broker import clock as broker_clock
from framework.broker.request import request
from framework.celery.app import App
from framework.errors import LimitUnavailable, OverLimit
from framework.limits import Limit, Rate, Unique, window
from framework.limits.window import SlidingWindow

#: Seconds by which two processes may disagree that read the broker's time in whole seconds.
TOLERANCE = 2.5


class Clock:
    """The module `time`, with a wall clock that is so many seconds ahead and a machine that booted just now."""

    sleep = staticmethod(time.sleep)

    def __init__(self, ahead=0.0, booted=0.0):
        self.ahead, self.booted = ahead, booted

    def time(self):
        return time.time() + self.ahead

    def monotonic(self):
        return time.monotonic() - self.booted


@pytest.fixture
def clock(monkeypatch):
    """The clock of the processes that use limits; the brokers have their own."""
    clock = Clock()
    monkeypatch.setattr(window, "time", clock)
    monkeypatch.setattr(broker_clock, "time", clock)
    return clock


@pytest.fixture
def app_of(broker_url):
    """Return a function that makes the application of one more process."""
    apps = []

    def make():
        apps.append(App("shop", set_as_current=False, broker=broker_url, backend="disabled://"))
        return apps[-1]

    yield make
    pools.reset()
    for app in apps:
        app.close()


@pytest.mark.parametrize("uptime", [0.0, 1.0, 45.0])
def test_a_limit_of_an_hour_counts_on_a_machine_that_booted_just_now(app_of, clock, uptime):
    """A1"""
    clock.booted = time.monotonic() - uptime
    limit = Limit("2/h", name="young", app=app_of())

    assert [limit.allows("Ann") for _ in range(3)] == [True, True, False]
    assert 3500 < limit.retry_after("Ann") <= 3600


YOUNG = """
import sys, time
from framework.celery.app import App
from framework.errors import OverLimit
from framework.limits import Limit, Unique

assert time.monotonic() < 60, time.monotonic()
app = App("young", set_as_current=False, broker=sys.argv[1], backend="disabled://")
limit = Limit("1/d", name="day", app=app)

@app.task(limit=Limit("1/m", over="delay"))
def delays(): ...

@app.task(unique=Unique(expires=14 * 86400))
def unique(): ...

assert [limit.allows("Ann") for _ in range(2)] == [True, False]
delays.delay(), delays.delay()
assert unique.delay().id == unique.delay().id
print("counted")
"""


def in_a_time_namespace(uptime):
    """Return the command that runs another on a machine that booted so many seconds ago."""
    offsets = Path("/proc/self/timens_offsets")  # of this process, which may be in a namespace too
    here = int(offsets.read_text().split()[1]) if offsets.exists() else 0
    return ["unshare", "--time", "--monotonic", str(int(uptime - time.monotonic()) + here), "--fork", "--kill-child"]


def test_limits_and_unique_tasks_work_in_the_first_minute_of_a_machine(broker_url, environment):
    """A1"""
    young = in_a_time_namespace(5)
    if subprocess.run([*young, "true"], capture_output=True, check=False).returncode:
        pytest.skip("time namespaces are not allowed here")

    done = subprocess.run(
        [*young, sys.executable, "-c", YOUNG, broker_url],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == "counted\n", done.stderr


@pytest.mark.parametrize("step", [3600, -3600])
def test_a_clock_that_is_set_by_an_hour_neither_opens_a_limit_nor_lengthens_its_wait(app_of, clock, step):
    limit = Limit("1/m", name="set", app=app_of())
    limit.take("Ann")
    with pytest.raises(OverLimit):
        limit.take("Ann")

    clock.ahead = step

    assert not limit.allows("Ann")
    assert 0 < limit.retry_after("Ann") <= 60
    assert 0 < Limit("1/m", name="set", app=app_of()).retry_after("Ann") <= 60


@pytest.mark.parametrize("ahead", [300, -300])
def test_the_wait_after_a_caller_with_another_clock_is_never_more_than_a_window(app_of, clock, ahead):
    """A17"""
    clock.ahead = ahead
    Limit("1/m", name="ahead", app=app_of()).take("Ann")
    clock.ahead = 0
    here = app_of()

    for _ in range(2):
        with pytest.raises(OverLimit) as over:
            Limit("1/m", name="ahead", app=here).take("Ann")
        assert 0 < over.value.retry_after <= 60


@pytest.mark.parametrize("aheads", [(300, 0, 0), (0, 300, 0), (-300, 0, 300), (0, -300, -300, 0)])
def test_callers_whose_clocks_differ_by_minutes_take_their_turns_one_window_apart(app_of, clock, aheads):
    """A17"""
    apps = {ahead: app_of() for ahead in aheads}
    turns = []

    for ahead in aheads:
        clock.ahead = ahead
        turns.append(reserved(apps[ahead]))

    for (earliest, latest), (next_earliest, next_latest) in pairwise(turns):
        assert next_earliest - latest <= 20 + TOLERANCE
        assert next_latest - earliest >= 20 - TOLERANCE


def reserved(app):
    """Reserve a turn; return the earliest and the latest time that it may be at, by a clock that nothing sets."""
    before = time.monotonic()
    wait = SlidingWindow(app, Rate.of("1/20s"), "1/20s", "turns", "Ann", max_wait=3600).reserve()
    return before + wait, time.monotonic() + wait


def test_a_clock_that_is_set_while_turns_are_taken_changes_none(app_of, clock):
    """A17"""
    app, turns = app_of(), []

    for ahead in (0, 3600, -3600):
        clock.ahead = ahead
        turns.append(reserved(app))

    for (earliest, latest), (next_earliest, next_latest) in pairwise(turns):
        assert next_earliest - latest <= 20 + TOLERANCE
        assert next_latest - earliest >= 20 - TOLERANCE


def test_the_brokers_time_is_known_to_the_second_with_any_local_clock(app_of, clock):
    for ahead in (0, 300, -300, 86400):
        clock.ahead = ahead
        read = request(app_of(), broker_clock.BrokerClock().now)

        assert -1.5 < time.time() - read < 6.5  # a reading may be a second off, and some seconds old by now


def test_the_brokers_time_is_read_again_when_it_is_due_or_the_clock_was_set(app_of, clock):
    app, reading, readings = app_of(), broker_clock.BrokerClock(), []

    class Counting:
        """A channel that counts the readings."""

        def __init__(self, channel):
            self._channel = channel

        def __getattr__(self, name):
            return getattr(self._channel, name)

        def basic_publish(self, *args, **options):
            readings.append(args)
            return self._channel.basic_publish(*args, **options)

    def read_at(seconds, ahead=0.0):
        clock.booted, clock.ahead = -seconds, seconds + ahead
        request(app, lambda channel: reading.now(Counting(channel)))
        return len(readings)

    assert [read_at(0), read_at(30), read_at(100), read_at(110)] == [1, 1, 2, 2]
    assert [read_at(120, ahead=1), read_at(121, ahead=1), read_at(122, ahead=0)] == [3, 3, 4]


SUSPENDED = """
import os, signal, sys
from framework.broker.request import request
from framework.celery.app import App
from framework.limits import tokens

def hold(channel):
    with tokens.exclusive_lock(channel, sys.argv[2]):
        print("holds", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)

request(App("suspended", set_as_current=False, broker=sys.argv[1], backend="disabled://"), hold)
"""


@contextmanager
def suspended_in_its_turn(broker_url, environment, queue):
    """Run a process that is suspended while it holds the lock of the turns; kill it at the end."""
    command = [sys.executable, "-c", SUSPENDED, broker_url, f"{queue}.turn"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "holds\n"
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
            yield
        finally:
            process.send_signal(signal.SIGKILL)


def test_a_suspended_caller_makes_others_wait_for_a_bounded_time(app_of, broker_url, environment, eventually):
    """A17"""
    app = app_of()
    turns = SlidingWindow(app, Rate.of("1/m"), "1/m", "turns", "Ann", max_wait=3600)
    optional = SlidingWindow(app, Rate.of("1/m"), "1/m", "turns", "Ann", max_wait=3600, optional=True)
    turns.reserve()
    app.conf.task_publish_timeout = 2.0

    with suspended_in_its_turn(broker_url, environment, turns._queue):
        began = time.monotonic()
        with pytest.raises(LimitUnavailable, match=r"turns of 1/m cannot be counted.*suspended.*Nothing was queued"):
            turns.reserve()
        assert 2.0 <= time.monotonic() - began < 9
        assert optional.reserve() == 0.0

    app.conf.task_publish_timeout = 9.0
    assert 50 < turns.reserve() <= 61


def build(): ...


def test_a_unique_task_is_unique_for_callers_whose_clocks_differ(app_of, clock):
    ids = set()
    for ahead in (0, 3600, -3600):
        clock.ahead = ahead
        ids.add(app_of().task(name="build", unique=Unique(expires=60))(build).delay().id)

    assert len(ids) == 1
