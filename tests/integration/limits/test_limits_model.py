"""Random calls, ends and deaths of processes against a small model: of a limit, and of the lock of a unique task."""

import os
import time
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from kombu import pools

from framework.broker.request import request
from framework.broker.sqlite import connection, database
from framework.celery.app import App
from framework.limits import Limit, unique, window

MOST, WINDOW, EXPIRES = 3, 10.0, 60.0

#: With ``CHAOS_SCALE=1`` more examples, and others each time.
SCALE = 10 if os.environ.get("CHAOS_SCALE") == "1" else 1
EXAMPLES = 20 * SCALE

who = st.integers(0, 1)
which = st.sampled_from(["Ann", "Bob"])
step = st.integers(1, 9)
# No sum of these is a window or the life of a lock, so nothing happens at its very end.
seconds = st.sampled_from([0.7, 2.1, 9.1, 10.3, 31.7, 61.3, 200.3])


class Died(BaseException):
    """The process was killed."""


class Dying:
    """A channel of a process that is killed instead of sending its n-th request."""

    def __init__(self, channel, death):
        self.__dict__.update(_channel=channel, _death=death)

    def __getattr__(self, name):
        value = getattr(self._channel, name)
        return self._counted(value) if callable(value) else value

    def __setattr__(self, name, value):
        setattr(self._channel, name, value)

    def _counted(self, method):
        def call(*args, **options):
            self._death.step()
            return method(*args, **options)

        return call


class Death:
    """Kills the process at the n-th request from now on; 0: never."""

    requests_left = 0

    def step(self):
        if self.requests_left:
            self.requests_left -= 1
            if not self.requests_left:
                raise Died


class Clock:
    """The module `time`; it passes when a test says so, or a process sleeps."""

    def __init__(self):
        self.passed, self.began = 0.0, time.time()

    def time(self):
        return self.began + self.passed

    def monotonic(self):
        return self.passed

    def sleep(self, seconds):
        self.passed += seconds
        time.sleep(0.001)


class Processes:
    """Two processes of an application, on a broker whose time is the test's where ``is_timed``."""

    def __init__(self, url, monkeypatch):
        self.url, self.is_timed = url, url.startswith("sqlite")
        self.clock, self.death = Clock(), Death()
        for module in [window, *([database, connection] if self.is_timed else [])]:
            monkeypatch.setattr(module, "time", self.clock)
        for module in (window, unique):
            monkeypatch.setattr(module, "request", self.request)
        self.apps = [self.start(), self.start()]

    def start(self):
        return App("shop", set_as_current=False, broker=self.url, backend="disabled://")

    def request(self, app, operation):
        return request(app, lambda channel: operation(Dying(channel, self.death)))

    def run_and_kill(self, number, step, function, *args):
        """Call a function in a process that is killed at that request; return whether it returned before."""
        self.death.requests_left = step
        try:
            function(self.apps[number], *args)
        except Died:
            self.apps[number].close()
            self.apps[number] = self.start()
            return False
        finally:
            self.death.requests_left = 0
        return True


@pytest.fixture
def processes(broker_url, monkeypatch):
    processes = Processes(broker_url, monkeypatch)
    yield processes
    pools.reset()
    for app in processes.apps:
        app.close()


def run(machine, processes):
    """Run a machine; on RabbitMQ, whose time nothing sets, fewer examples in which none passes."""
    few = settings(
        max_examples=EXAMPLES if processes.is_timed else 3,
        stateful_step_count=25,
        derandomize=SCALE == 1,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(lambda: machine(processes), settings=few)


class LimitMachine(RuleBasedStateMachine):
    """Calls of two processes for two keys; the model has when a token was acquired, for sure or perhaps."""

    def __init__(self, processes):
        super().__init__()
        self.processes, self.clock = processes, processes.clock
        self.name = uuid4().hex
        self.sure = {"Ann": [], "Bob": []}
        self.possible = {"Ann": [], "Bob": []}

    def limit(self, app):
        return Limit(f"{MOST}/{WINDOW}s", name=self.name, app=app)

    def live(self, tokens, key):
        if self.processes.is_timed:
            tokens[key] = [at for at in tokens[key] if at > self.clock.passed - WINDOW]
        return tokens[key]

    def acquired(self, key):
        self.sure[key].append(self.clock.passed)
        self.possible[key].append(self.clock.passed)

    @precondition(lambda self: self.processes.is_timed)
    @rule(seconds=seconds)
    def wait(self, seconds):
        self.clock.passed += seconds

    @rule(who=who, key=which)
    def take(self, who, key):
        allowed = self.limit(self.processes.apps[who]).allows(key)

        sure, possible = self.live(self.sure, key), self.live(self.possible, key)
        if len(sure) >= MOST:
            assert not allowed, "more than the limit in one window"
        if len(possible) < MOST:
            assert allowed, "a free token was not given"
        if allowed:
            self.acquired(key)

    @rule(who=who, key=which)
    def take_and_release(self, who, key):
        tokens = self.limit(self.processes.apps[who])._window(key)
        if (queue := tokens.acquire()) is not None:
            self.live(self.sure, key), self.live(self.possible, key)
            self.acquired(key)
            tokens.release(queue)
            # The oldest one is released: the same number, and never too many in a window.
            for acquired in (self.sure, self.possible):
                acquired[key].pop(0)
            if len(self.sure[key]) != len(self.possible[key]):
                self.sure[key] = []  # which of them was released is not known

    @rule(who=who, key=which, step=step)
    def take_and_die(self, who, key, step):
        if self.processes.run_and_kill(who, step, lambda app: self.results.append(self.limit(app).allows(key))):
            if self.results.pop():
                self.acquired(key)
        else:
            self.possible[key].append(self.clock.passed)

    results: list[bool] = []  # noqa: RUF012

    @rule(who=who, key=which)
    def read_the_wait(self, who, key):
        wait = self.limit(self.processes.apps[who]).retry_after(key)

        assert 0 <= wait <= WINDOW
        sure, possible = self.live(self.sure, key), self.live(self.possible, key)
        if self.processes.is_timed and sure == possible:
            free_at = sure[-MOST] + WINDOW if len(sure) >= MOST else self.clock.passed
            assert abs(self.clock.passed + wait - free_at) < 0.1


class LockMachine(RuleBasedStateMachine):
    """Calls and ends of tasks for one lock; the model has who may hold it, and until when."""

    def __init__(self, processes):
        super().__init__()
        self.processes, self.clock = processes, processes.clock
        self.lock = f"unique.{uuid4().hex}"
        self.holder, self.until, self.is_sure, self.calls = None, 0.0, True, 0

    def expire(self):
        if self.holder is not None and self.processes.is_timed and self.clock.passed > self.until:
            self.holder, self.is_sure = None, True

    def held_by(self, task_id, *, is_sure=True):
        self.holder, self.is_sure = task_id, is_sure
        self.until = self.clock.passed + EXPIRES

    def next_id(self):
        self.calls += 1
        return f"task-{self.calls}"

    @precondition(lambda self: self.processes.is_timed)
    @rule(seconds=seconds)
    def wait(self, seconds):
        self.clock.passed += seconds

    @rule(who=who)
    def call(self, who):
        task_id = self.next_id()
        self.expire()
        found = unique.acquire(self.processes.apps[who], self.lock, task_id, EXPIRES)
        self.expire()

        if found is None:
            assert self.holder is None or not self.is_sure, "two tasks hold one lock"
            self.held_by(task_id)
            unique.mark_queued(self.processes.apps[who], self.lock, task_id)
        else:
            assert self.holder is not None, "a free lock was not given"
            assert not self.is_sure or found == (self.holder, True)

    @precondition(lambda self: self.holder is not None and self.is_sure)
    @rule(who=who)
    def call_again(self, who):
        self.expire()
        if self.holder is not None:
            found = unique.acquire(self.processes.apps[who], self.lock, self.holder, EXPIRES)
            assert found == (self.holder, True)
            self.until = self.clock.passed + EXPIRES

    @rule(who=who)
    def end(self, who):
        self.expire()
        if self.holder is not None and self.is_sure:
            unique.release(self.processes.apps[who], self.lock, self.holder)
            self.holder = None

    @rule(who=who)
    def end_of_another(self, who):
        unique.release(self.processes.apps[who], self.lock, "task-0")

    @rule(who=who, step=step)
    def end_and_die(self, who, step):
        self.expire()
        if self.holder is None or not self.is_sure:
            return
        self.processes.run_and_kill(who, step, unique.release, self.lock, self.holder)
        # The broker delivers the task again: the next worker releases the lock
        unique.release(self.processes.apps[1 - who], self.lock, self.holder)
        self.holder = None

    @precondition(lambda self: self.processes.is_timed)
    @rule(who=who, step=step)
    def call_and_die(self, who, step):
        task_id, self.results = self.next_id(), []
        self.expire()

        def call(app):
            self.results.append(unique.acquire(app, self.lock, task_id, EXPIRES))

        if self.processes.run_and_kill(who, step, call) and self.results[0] is None:
            assert self.holder is None or not self.is_sure, "two tasks hold one lock"
            self.held_by(task_id)
            unique.mark_queued(self.processes.apps[who], self.lock, task_id)
        elif self.holder is None:
            self.held_by(task_id, is_sure=False)


def test_a_limit_is_never_exceeded_and_gives_every_free_token(processes):
    run(LimitMachine, processes)


def test_a_lock_has_one_holder_and_is_free_after_its_task_or_its_expiry(processes):
    run(LockMachine, processes)
