"""Limits on tasks and in views, on both brokers."""

import os
import subprocess
import sys
import time

import pytest
from celery import chain, group
from celery.exceptions import TaskRevokedError
from kombu import pools
from kombu.exceptions import EncodeError

from framework.broker.request import request
from framework.celery.app import App
from framework.errors import BadKey, BrokerUnreachable, InvalidArguments, OverLimit
from framework.limits import Limit, tokens, window
from framework.limits.window import SHARED_BUCKETS, _timestamps

LIMITED = """
import time
from pathlib import Path
from framework.celery.celery import celery
from framework.limits import Limit

HERE = Path(__file__).parents[2]

@celery.task(limit=Limit("1/5s", key="visitor", over="delay"))
def slowly(visitor, number):
    with (HERE / "slowly").open("a") as file:
        file.write(f"{visitor} {number} {time.time()}\\n")

@celery.task(bind=True, limit=Limit("1/1m", key="visitor"), max_retries=3)
def stubborn(self, visitor):
    with (HERE / "stubborn").open("a") as file:
        file.write(f"{self.request.id}\\n")
    if self.request.retries < 2:
        raise self.retry(countdown=0.3)
"""


@pytest.fixture
def shop(broker_url):
    """An application whose tasks are here; no worker runs, so that queued messages stay."""
    app = App("shop", set_as_current=False, broker=broker_url, backend="disabled://")
    yield app
    pools.reset()
    app.close()


@pytest.fixture
def queued(shop):
    """Return how many messages are in the task queue."""

    def count():
        with shop.connection_for_read() as connection:
            queue = shop.amqp.queues["celery"](connection.default_channel)
            return queue.queue_declare(passive=False).message_count

    return count


def calls(task, *args, times):
    """Call a task so many times; return how many calls were accepted."""
    accepted = 0
    for _ in range(times):
        try:
            task.delay(*args)
        except OverLimit:
            continue
        accepted += 1
    return accepted


def test_a_call_over_the_limit_is_rejected_with_the_seconds_to_wait(shop, queued):
    @shop.task(limit=Limit("2/60s", key="visitor"))
    def contact(visitor, text="hello"): ...

    first = time.time()
    assert calls(contact, "Ann", times=1) == 1
    second = time.time()
    assert calls(contact, "Ann", times=1) == 1
    third = time.time()
    with pytest.raises(OverLimit) as over:
        contact.apply_async(kwargs={"visitor": "Ann", "text": "again"})

    # The first token was acquired between `first` and `second`.
    assert first + 60 - time.time() <= over.value.retry_after <= second + 60 - third
    assert calls(contact, "Bob", times=3) == 2
    assert queued() == 4


def test_a_call_after_the_reported_wait_is_accepted(shop, eventually):
    limit = Limit("1/6s", name="wait", app=shop)
    before = time.time()
    limit.take("Ann")

    for _ in range(2):
        wait = limit.retry_after("Ann")
        assert before + 6 - time.time() <= wait <= 6
        assert not limit.allows("Ann")
        time.sleep(wait)
        # A busy RabbitMQ drops the token some moments after its time.
        eventually(lambda: limit.retry_after("Ann") == 0.0)
        before = time.time()
        eventually(lambda: limit.allows("Ann"))


def test_there_is_no_wait_while_a_token_is_free(shop):
    limit = Limit("3/m", name="free", app=shop)

    for _ in range(3):
        assert limit.retry_after("Ann") == 0.0
        limit.take("Ann")

    assert 50 < limit.retry_after("Ann") <= 60


def test_without_the_timestamp_of_a_token_the_wait_is_the_whole_window(shop):
    # Given a token without its timestamp, as after a restart of the broker
    limit = Limit("1/m", name="restarted", app=shop)
    limit.take("Ann")
    with shop.connection_for_write() as connection:
        connection.default_channel.queue_purge(_timestamps(limit._window("Ann")._queue))

    # When the next call is made
    with pytest.raises(OverLimit) as refused:
        limit.take("Ann")

    # Then it is refused, with the longest possible wait
    assert refused.value.retry_after == 60


def test_a_view_and_a_task_share_a_limit_of_one_name(shop):
    limit = Limit("2/m", name="contact", key="visitor", app=shop)

    @shop.task(limit=limit)
    def contact(visitor): ...

    limit.take("Ann")
    contact.delay("Ann")

    assert not limit.allows("Ann")
    assert calls(contact, "Ann", times=1) == 0
    assert limit.allows("Bob")


def test_the_addresses_of_one_network_are_one_visitor_where_the_limit_says_that_its_key_is_an_address(shop):
    """A8"""
    one, other = "2001:db8::1", "2001:db8::2"

    @shop.task(limit=Limit("1/m", key="visitor", address=True))
    def contact(visitor): ...

    @shop.task(limit=Limit("1/m", key="host"))
    def scan(host): ...

    in_a_view = Limit("1/m", name="view", address=True, app=shop)

    assert [calls(contact, address, times=1) for address in (one, other)] == [1, 0]
    assert [calls(scan, address, times=1) for address in (one, other)] == [1, 1]
    assert [in_a_view.allows(address) for address in (one, other)] == [True, False]


def test_an_invalid_call_is_refused_before_it_is_counted(shop, queued):
    @shop.task(limit=Limit("1/m", key="visitor"))
    def contact(visitor, text): ...

    with pytest.raises(InvalidArguments):
        contact.delay("Ann")
    with pytest.raises(BadKey, match="visitor, which is None"):
        contact.delay(None, "hello")
    with pytest.raises(EncodeError):
        contact.delay("Ann", object())

    assert queued() == 0
    assert calls(contact, "Ann", "hello", times=2) == 1


def test_a_call_takes_a_token_of_each_of_its_limits_or_of_none(shop):
    @shop.task(limit=[Limit("3/m", key="visitor"), Limit("2/m", key=lambda call: call["form"]["site"])])
    def contact(visitor, form): ...

    assert calls(contact, "Ann", {"site": "a"}, times=4) == 2
    # The two calls that the second limit refused have not counted for Ann.
    assert calls(contact, "Ann", {"site": "b"}, times=2) == 1


def test_a_dropped_call_is_not_queued_and_its_result_is_revoked(shop, queued):
    @shop.task(limit=Limit("1/m", over="drop"))
    def refresh(): ...

    refresh.delay()
    dropped = refresh.delay()

    assert dropped.id
    assert dropped.state == "REVOKED"
    with pytest.raises(TaskRevokedError, match="1/m"):
        dropped.get(timeout=1)
    assert queued() == 1


def test_a_task_without_a_key_has_one_limit_for_all(shop):
    @shop.task(limit=Limit("2/m"))
    def report(number): ...

    assert sum(calls(report, number, times=1) for number in range(5)) == 2


def test_each_part_of_a_canvas_counts_when_it_is_published(shop, queued):
    @shop.task(limit=Limit("2/m"))
    def step(): ...

    with pytest.raises(OverLimit):
        group(step.si(), step.si(), step.si()).apply_async()
    assert queued() == 2

    with pytest.raises(OverLimit):
        chain(step.si(), step.si()).apply_async()


def test_a_call_that_the_broker_refuses_is_not_counted(shop, queued):
    @shop.task(limit=Limit("1/m", key="visitor"))
    def contact(visitor): ...

    class Broken(Exception):
        pass

    def break_it(*_, **__):
        raise Broken

    send = shop.amqp.__dict__["send_task_message"] = break_it
    with pytest.raises(Broken):
        contact.delay("Ann")
    assert shop.amqp.__dict__.pop("send_task_message") is send

    assert calls(contact, "Ann", times=2) == 1


def test_the_wait_of_a_full_window_is_read_by_one_request(shop, monkeypatch):
    limit = Limit("2/h", name="visits", app=shop)
    for _ in range(2):
        limit.take("Ann")
    sent = []
    monkeypatch.setattr(window, "request", lambda app, operation: sent.append(operation) or request(app, operation))

    assert limit.retry_after("Ann") > 0
    assert len(sent) == 1


def test_the_counter_of_keys_is_declared_once(shop, monkeypatch):
    declared, declare = [], tokens.declare
    monkeypatch.setattr(
        tokens, "declare", lambda channel, name, *size: declared.append(name) or declare(channel, name, *size)
    )
    limit = Limit("2/h", name="visits", app=shop)
    for visitor in ("Ann", "Ben", "Cy"):
        limit.take(visitor)

    assert len([name for name in declared if ".keys." in name]) == 1


def test_without_a_broker_a_limit_raises(tmp_path):
    app = App("away", set_as_current=False, broker="amqp://guest:guest@127.0.0.1:1//")
    app.conf.task_publish_timeout = 0.5

    with pytest.raises(BrokerUnreachable):
        Limit("1/s", name="contact", app=app).take("Ann")


def test_above_the_largest_number_of_keys_new_keys_share_buckets_and_known_keys_keep_their_queues(shop):
    shop.conf.task_limit_keys = 20
    limit = Limit("2/h", name="flood", app=shop)
    for visitor in range(20):
        limit.take(f"early {visitor}")

    late = sum(limit.allows(f"late {visitor}") for visitor in range(4 * SHARED_BUCKETS))

    assert SHARED_BUCKETS < late <= 2 * SHARED_BUCKETS
    assert sum(limit.allows(f"early {visitor}") for visitor in range(20) for _ in range(2)) == 20


@pytest.mark.timeout(180)
def test_a_delayed_task_runs_as_soon_as_the_window_allows_and_in_order(
    project, environment, start_worker, app, eventually
):
    (project / "probe/tasks/limited.py").write_text(LIMITED)
    start_worker("-c1")

    called = time.time()
    script = (
        "from framework.celery.celery import celery\n"
        "ids = [celery.send_task('probe.tasks.limited.slowly', ('Ann', n)).id for n in range(4)]\n"
        "celery.send_task('probe.tasks.limited.slowly', ('Bob', 0))\n"
        "assert len(set(ids)) == 4\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=project, env=environment, check=True)
    ran = project / "slowly"
    eventually(lambda: ran.exists() and len(ran.read_text().splitlines()) == 5)

    lines = [line.split() for line in ran.read_text().splitlines()]
    assert [number for visitor, number, _ in lines if visitor == "Ann"] == ["0", "1", "2", "3"]
    times = [float(at) for visitor, _, at in lines if visitor == "Ann"]
    # Turns are five seconds apart, and no call runs before its own; the delay after it depends on the machine.
    assert all(at >= called + 5 * turn for turn, at in enumerate(times)), (called, times)
    assert times[-1] - times[0] < 15 + 30
    bob = next(float(at) for visitor, _, at in lines if visitor == "Bob")
    assert bob < times[3]


def test_a_call_that_would_wait_too_long_is_rejected(shop, queued):
    @shop.task(limit=Limit("1/60s", key="visitor", over="delay", max_wait=150))
    def slowly(visitor): ...

    assert calls(slowly, "Ann", times=5) == 3
    with pytest.raises(OverLimit) as over:
        slowly.delay("Ann")

    assert 0 < over.value.retry_after <= 30


@pytest.mark.timeout(180)
def test_a_retry_is_not_counted_again_and_a_call_by_name_is(project, environment, start_worker, eventually):
    (project / "probe/tasks/limited.py").write_text(LIMITED)
    start_worker()
    script = (
        "import sys\n"
        "from framework.celery.celery import celery\n"
        "from framework.errors import OverLimit\n"
        "assert 'probe.tasks.limited' not in sys.modules\n"
        "celery.send_task('probe.tasks.limited.stubborn', ('Ann',))\n"
        "try: celery.send_task('probe.tasks.limited.stubborn', kwargs={'visitor': 'Ann'})\n"
        "except OverLimit as over: print(over.retry_after)\n"
    )

    called = subprocess.run(
        [sys.executable, "-c", script], cwd=project, env={**os.environ, **environment}, check=True, capture_output=True
    )
    ran = project / "stubborn"
    eventually(lambda: ran.exists() and len(ran.read_text().splitlines()) == 3)

    assert 30 < float(called.stdout) <= 60
    assert len(set(ran.read_text().split())) == 1
