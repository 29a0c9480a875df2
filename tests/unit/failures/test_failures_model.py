"""Any order of failures, reads, retries, drops and kills, against a model of the failed-task queue, on both brokers.

A retry publishes the task and then removes it from the queue: a process that is killed in between leaves it in both
places. Nothing else may be lost, be there twice, or change.
"""

import json
import time
from collections import Counter
from contextlib import suppress
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from kombu import Connection, pools

from framework.celery.app import App
from framework.errors import NotRetried, UnknownFailure
from framework.failures import ALL, Failures, registry
from framework.failures.headers import failure_headers
from framework.failures.queue import failed_queue
from framework.failures.reader import FailedQueue

REASONS = ("failed", "timeout")
STEPS = ("read", "published", "removed")

#: Examples and steps.
EXAMPLES = {"sqlite": (12, 10), "rabbitmq": (4, 10)}


class Killed(BaseException):
    """Ends a command like SIGKILL: nothing handles it, and the connection is dropped without closing it."""


def killed_queue(name, step):
    """Return the queue of a process that is killed at a step of the task ``name``, and the steps that it reached."""
    reached = []

    class KilledQueue(FailedQueue):
        def __iter__(self):
            for entry in super().__iter__():
                reach("read", entry)
                yield entry

        def retry(self, entry):
            super().retry(entry)
            reach("published", entry)

        def remove(self, entry):
            super().remove(entry)
            reach("removed", entry)

    def reach(at, entry):
        if entry.id == name:
            reached.append(at)
            if at == step:
                raise Killed

    return KilledQueue, reached


class FailedTasks(RuleBasedStateMachine):
    """The model: the ids and reasons that are in the failed-task queue, and how often each was sent to its own."""

    broker_url = ""
    tasks = Bundle("tasks")
    runs = count()

    def __init__(self):
        super().__init__()
        run = next(self.runs)
        self.app = App("model", set_as_current=False, broker=self.broker_url, backend="rpc://")
        self.app.conf.task_failed_queue = f"failed-{run}"
        self.work, self.full = f"work-{run}", f"full-{run}"
        self.failures = Failures(self.app)
        self.connection = Connection(self.broker_url, transport_options={"confirm_publish": True})
        self.channel = self.connection.default_channel
        self.failed = {}
        self.sent = Counter()
        self.ids = count()

    @initialize()
    def declare(self):
        failed_queue(self.app.conf.task_failed_queue)(self.channel).declare()
        self.channel.queue_declare(self.work, durable=True, auto_delete=False)
        refuses = {"x-max-length": 0, "x-overflow": "reject-publish"}
        self.channel.queue_declare(self.full, durable=True, auto_delete=False, arguments=refuses)

    @rule(target=tasks, number=st.integers(1, 3), reason=st.sampled_from(REASONS), full=st.booleans())
    def fail(self, number, reason, full):
        names = [f"task-{next(self.ids)}" for _ in range(number)]
        for name in names:
            queue = self.full if full else self.work
            why = failure_headers(reason=reason, error="e", traceback="", attempts=1, worker="w", queue=queue)
            headers = {"id": name, "task": "shop.close", "retries": 0, **why}
            body = json.dumps([[name], {}, {}])
            message = self.channel.prepare_message(body, None, "application/json", "utf-8", headers)
            self.channel.basic_publish(message, exchange=self.app.conf.task_failed_queue, routing_key="")
            self.failed[name] = (reason, full)
        return multiple(*names)

    @rule(limit=st.integers(1, 5), offset=st.integers(0, 3), reason=st.sampled_from(REASONS))
    def list_a_page(self, limit, offset, reason):
        page = self.failures.page(limit, offset, reason)

        of_reason = [name for name, (why, _) in self.failed.items() if why == reason]
        assert [task.id for task in page] == of_reason[offset : offset + limit]
        assert [task.args for task in page] == [[task.id] for task in page]

    @rule(name=tasks)
    def retry(self, name):
        known, full = name in self.failed, self.failed.get(name, ("", False))[1]
        try:
            done = self.failures.retry([name])
        except UnknownFailure:
            assert not known
        except NotRetried:
            assert full
        else:
            assert (known, full, done) == (True, False, 1)
            del self.failed[name]
            self.sent[name] += 1

    @rule(reason=st.sampled_from([None, *REASONS]))
    def retry_all(self, reason):
        wanted = [name for name, (why, _) in self.failed.items() if reason in (None, why)]
        refused = [name for name in wanted if self.failed[name][1]]
        try:
            assert self.failures.retry(ALL, reason=reason) == len(wanted)
        except NotRetried:
            assert refused
        else:
            assert not refused
        for name in set(wanted) - set(refused):
            del self.failed[name]
            self.sent[name] += 1

    @rule(name=tasks)
    def drop(self, name):
        known = self.failed.pop(name, None)
        try:
            assert self.failures.drop([name]) == 1
        except UnknownFailure:
            assert known is None
        else:
            assert known is not None

    @rule(name=tasks, step=st.sampled_from(STEPS))
    def be_killed_during_a_retry(self, name, step):
        reached = self._killed(lambda failures: failures.retry([name]), name, step)
        if reached in ("published", "removed"):
            self.sent[name] += 1
        if reached == "removed":
            del self.failed[name]

    @rule(name=tasks, step=st.sampled_from(("read", "removed")))
    def be_killed_during_a_drop(self, name, step):
        if self._killed(lambda failures: failures.drop([name]), name, step) == "removed":
            del self.failed[name]

    def _killed(self, command, name, step):
        """Run a command that is killed at a step; return the last step that it reached for the task."""
        queue, reached = killed_queue(name, step)
        with pytest.MonkeyPatch.context() as patch, suppress(Killed, UnknownFailure, NotRetried):
            patch.setattr(registry, "FailedQueue", queue)
            command(self.failures)
        return reached[-1] if reached else ""

    @invariant()
    def no_task_is_lost_or_there_twice(self):
        self._wait_until_removals_are_counted()
        assert [task.id for task in self.failures.page(1000)] == list(self.failed)
        assert self.channel.queue_declare(self.work, passive=True).message_count == self.sent.total()

    def _wait_until_removals_are_counted(self):
        """The broker may still have to remove what a killed process had acknowledged."""
        end = time.monotonic() + 10
        while (found := self.failures.count()) != len(self.failed):
            assert time.monotonic() < end, f"{found} failed tasks instead of {len(self.failed)}"
            time.sleep(0.01)

    def teardown(self):
        sent = Counter()
        while message := self.channel.basic_get(self.work, no_ack=True):
            sent[message.headers["id"]] += 1
        assert sent == self.sent
        self.connection.release()
        pools.reset()
        self.app.close()


def test_no_order_of_failures_retries_drops_and_kills_loses_or_repeats_a_task(broker, broker_url):
    examples, steps = EXAMPLES[broker]
    machine = type("FailedTasks", (FailedTasks,), {"broker_url": broker_url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
