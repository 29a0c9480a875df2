"""Random sequences of starts, kills, pauses and refusals: each slot is sent once, as a small model says."""

from contextlib import suppress
from datetime import datetime, timedelta
from itertools import count

from amqp.exceptions import MessageNacked
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from kombu import Queue

from framework.schedule.entries import entries_of
from framework.schedule.leader import Leadership
from framework.schedule.leader_connection import LeadershipLost
from framework.schedule.messages import Kind, message

PERIODS = {"steady": 10, "tight": 30}
ROOM = 40


class Program(RuleBasedStateMachine):
    """Schedulers in this process, the clock, the two queues of their tasks, and the model of both entries."""

    def __init__(self, app, channel, clock, number):
        super().__init__()
        self.app, self.channel, self.clock = app, channel, clock
        self.queues = {name: f"{name}-{number}" for name in PERIODS}
        app.conf.beat_queue = self.state = f"schedule-{number}"
        bounded = {"x-queue-type": "classic", "x-max-length": ROOM, "x-overflow": "reject-publish"}
        for name, queue in self.queues.items():
            app.amqp.queues.add(Queue(queue, queue_arguments=bounded if name == "tight" else None))
            app.amqp.queues[queue](channel).declare()
        app.conf.beat_schedule = {
            name: {"task": "probe.work", "schedule": seconds, "missed": "all", "options": {"queue": self.queues[name]}}
            for name, seconds in PERIODS.items()
        }
        self.alive = []
        self.sent = {name: [] for name in PERIODS}
        self.run_now = 0
        self.full = False
        # The model: since when each entry runs, None while it is paused, and the slots that are due or may be sent.
        self.due = {name: [] for name in PERIODS}
        self.optional = {name: set() for name in PERIODS}
        self.paused = dict.fromkeys(PERIODS, False)
        self.start()

    @rule()
    @precondition(lambda self: len(self.alive) < 3)
    def start(self):
        self.alive.append(Leadership(self.app, entries_of(self.app), self.clock))
        self.work()

    @rule(which=st.integers(0, 2))
    def kill(self, which):
        if self.alive:
            self.alive.pop(which % len(self.alive)).abandon()

    @rule(steps=st.integers(1, 6))
    def advance(self, steps):
        for _ in range(steps):
            self.clock.advance(10)
            for name, seconds in PERIODS.items():
                slot = int((self.clock.now - timedelta(seconds=0.5)).timestamp())
                if slot % seconds == 0 and not self.paused[name]:
                    self.due[name].append(slot)
        self.work()

    @rule()
    @precondition(lambda self: self.alive)
    def kill_after_a_publish(self):
        """The leader has sent a task, and has not counted it yet."""
        self.empty()
        self.work()
        (leader,) = (each for each in self.alive if each.leads_since)
        send = leader._sender.send

        def and_die(*args, **options):
            send(*args, **options)
            leader.abandon()
            raise LeadershipLost("killed")

        leader._sender.send = and_die
        self.advance(1)

    @rule(name=st.sampled_from(sorted(PERIODS)))
    @precondition(lambda self: self.alive)
    def pause(self, name):
        self.control(Kind.PAUSE, name)
        # What was refused until now is not made up for after the pause.
        self.optional[name].update(self.due[name])
        self.due[name].clear()
        self.paused[name] = True

    @rule(name=st.sampled_from(sorted(PERIODS)))
    @precondition(lambda self: self.alive)
    def resume(self, name):
        self.control(Kind.RESUME, name)
        self.paused[name] = False

    @rule(name=st.sampled_from(sorted(PERIODS)))
    def run_entry_now(self, name):
        if not (name == "tight" and self.full):
            self.app.send_task("probe.work", **entries_of(self.app)[name].options)
            self.run_now += 1

    @rule()
    def fill(self):
        """Let the queue refuse the next task."""
        body = self.channel.prepare_message("{}", content_encoding="utf-8")
        with suppress(MessageNacked):
            for _ in range(ROOM + 1):
                self.channel.basic_publish(body, routing_key=self.queues["tight"])
        self.full = True

    @rule()
    def empty(self):
        for name, queue in self.queues.items():
            while (found := self.channel.basic_get(queue, no_ack=True)) is not None:
                headers = found.headers or {}
                if "x-schedule-slot" in headers:
                    self.sent[name].append(headers["x-schedule-slot"])
                elif "task" in headers:
                    self.run_now -= 1
        self.full = False

    def control(self, kind, name):
        self.work()
        self.channel.basic_publish(message(kind, f"{kind} {name}", {"entry": name}), routing_key=self.state)
        self.work()

    def work(self):
        for turn in count():
            for each in list(self.alive):
                try:
                    each.work(0.002)
                except LeadershipLost:
                    self.alive.remove(each)
            if not self.alive or (turn > 8 and any(each.leads_since for each in self.alive)):
                return
            assert turn < 5000

    def teardown(self):
        """Lead until all that is due has been sent, and compare."""
        if len(self.alive) == 0:
            self.start()
        self.work()
        for _ in range(2):
            self.empty()
            self.advance(7)
            self.work()
        self.empty()
        (leader,) = (each for each in self.alive if each.leads_since)
        assert {name: leader._state.entries[name].paused for name in PERIODS} == self.paused
        for each in self.alive:
            each.abandon()
        for name, slots in self.sent.items():
            found = [int(datetime.fromisoformat(slot).timestamp()) for slot in slots]
            assert len(set(found)) == len(found), f"{name}: a slot was sent twice"
            assert set(self.due[name]) <= set(found), f"{name}: a slot is missed"
            assert set(found) <= set(self.due[name]) | self.optional[name], f"{name}: a slot of a pause was sent"
        assert self.run_now == 0


def test_each_slot_is_sent_once_by_schedulers_that_start_and_die_at_random(app, channel, clock, broker):
    numbers = count()
    run_state_machine_as_test(
        lambda: Program(app, channel, clock, next(numbers)),
        settings=settings(
            max_examples=12 if broker == "sqlite" else 3,
            stateful_step_count=20,
            deadline=None,
            phases=[Phase.generate],  # shrinking takes minutes; add Phase.shrink to look into a failure
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
