"""Random sequences of operations: a queue behaves like a list."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CLIENTS = 2
which = st.integers(0, 5)
who = st.integers(0, CLIENTS - 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish")),
        st.tuples(st.just("get"), who),
        st.tuples(st.just("get"), who),
        st.tuples(st.just("ack"), who, which),
        st.tuples(st.just("ack_up_to"), who, which),
        st.tuples(st.just("reject"), who, which),
        st.tuples(st.just("requeue"), who, which),
        st.tuples(st.just("recover"), who),
        st.tuples(st.just("purge")),
        st.tuples(st.just("close"), who),
        st.tuples(st.just("lose"), who),
    ),
    min_size=5,
    max_size=40,
)


class Model:
    """A model of a queue: a list, and each client's unacknowledged messages; a message is a number."""

    def __init__(self):
        self.ready = []
        self.held = [{} for _ in range(CLIENTS)]
        self.returned = set()
        self.published = 0

    def give_back(self, *messages):
        self.ready = sorted([*self.ready, *messages])
        self.returned.update(messages)

    def give_back_all(self, who):
        self.give_back(*self.held[who])
        self.held[who].clear()


class Program:
    """Applies each step to a real queue and to the model."""

    def __init__(self, connect, eventually, queue):
        self.connect = connect
        self.eventually = eventually
        self.queue = queue
        self.watcher = connect()
        self.watcher.queue(queue)
        self.clients = [connect() for _ in range(CLIENTS)]
        self.model = Model()

    def run(self, steps):
        for name, *args in [*steps, *[("close", who) for who in range(CLIENTS)]]:
            getattr(self, name)(*args)
            assert self.eventually(lambda: self.watcher.ready(self.queue) == len(self.model.ready)), name
        assert [int(body) for body in self.watcher.empty(self.queue)] == self.model.ready
        self.watcher.close()

    def publish(self):
        self.watcher.publish(str(self.model.published), key=self.queue)
        self.model.ready.append(self.model.published)
        self.model.published += 1

    def get(self, who):
        message = self.clients[who].get(self.queue)
        if not self.model.ready:
            assert message is None
            return
        expected = self.model.ready.pop(0)
        assert int(message.body) == expected
        assert message.delivery_info["redelivered"] == (expected in self.model.returned)
        self.model.held[who][expected] = message

    def ack(self, who, which):
        for number in self.held(who, which):
            self.clients[who].ack(self.model.held[who].pop(number))

    def ack_up_to(self, who, which):
        for number in self.held(who, which):
            last = self.model.held[who][number]
            self.clients[who].ack(last, multiple=True)
            later = {n: m for n, m in self.model.held[who].items() if m.delivery_tag > last.delivery_tag}
            self.model.held[who] = later

    def reject(self, who, which):
        for number in self.held(who, which):
            self.clients[who].reject(self.model.held[who].pop(number))

    def requeue(self, who, which):
        for number in self.held(who, which):
            self.clients[who].requeue(self.model.held[who].pop(number))
            self.model.give_back(number)

    def recover(self, who):
        self.clients[who].channel.basic_recover(requeue=True)
        self.model.give_back_all(who)

    def purge(self):
        assert self.watcher.channel.queue_purge(self.queue) == len(self.model.ready)
        self.model.ready.clear()

    def close(self, who):
        self.clients[who].close()
        self.again(who)

    def lose(self, who):
        # A connection that is lost takes those acknowledgements with it that the broker has not read yet.
        self.clients[who].ready(self.queue)
        self.clients[who].connection.collect()
        self.again(who)

    def again(self, who):
        self.clients[who] = self.connect()
        self.model.give_back_all(who)

    def held(self, who, which):
        """Return the number of one unacknowledged message of a client, if it has any."""
        numbers = list(self.model.held[who])
        return [numbers[which % len(numbers)]] if numbers else []


@pytest.fixture
def run(connect, eventually):
    """Return a function that runs a schedule on a new queue."""
    programs = []

    def run(steps):
        programs.append(Program(connect, eventually, f"mail-{len(programs)}"))
        programs[-1].run(steps)

    return run


@settings(
    max_examples=25, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(steps=STEPS)
def test_a_queue_behaves_like_a_list(run, steps):
    run(steps)
