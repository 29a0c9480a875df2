"""Countdown and eta on both brokers: the broker holds the task, not a worker's memory."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from framework.errors import BadDelay

WAIT = 60


def held(app):
    """Return how many messages are in the levels and in the task queue."""
    with app.connection_for_read() as connection, connection.channel() as channel:
        levels = sum(channel.queue_declare(f"celery.delay.{n}", passive=True).message_count for n in range(30))
        return levels, channel.queue_declare("celery", passive=True).message_count


def test_a_delayed_task_published_before_any_worker_ever_ran_is_run(start_worker, call):
    sent = call("add", 1, 1).apply_async(countdown=1)

    start_worker()

    assert sent.get(WAIT) == 2


@pytest.mark.parametrize("seconds", [0.3, 1, 2.6])
def test_a_task_runs_when_its_countdown_has_passed_to_about_a_second(start_worker, call, noted, eventually, seconds):
    start_worker()
    call("add", 1, 1).apply_async(countdown=0.1).get(WAIT)  # the levels are there

    def late():
        """Call a task; return how long after its countdown it ran, never before it."""
        sent_at = time.time()
        call("flaky", 0).apply_async(countdown=seconds).get(WAIT)
        after = float(noted("tries")[-1]) - sent_at
        assert after >= seconds
        return after - seconds

    # A busy machine delays a single task by any time; a wrong countdown delays each.
    eventually(lambda: late() < 1)


def test_an_eta_keeps_its_time_zone(start_worker, call, noted):
    start_worker()
    eta = datetime.now(UTC) + timedelta(seconds=1.5)

    call("flaky", 0).apply_async(eta=eta.astimezone()).get(WAIT)

    assert 0 <= float(noted("tries")[0]) - eta.timestamp() < 30  # the least error of a time zone is 15 minutes


def test_an_eta_that_has_passed_runs_at_once(start_worker, call):
    start_worker()

    assert call("add", 1, 1).apply_async(eta=datetime.now(UTC) - timedelta(hours=1)).get(WAIT) == 2


def test_a_delayed_task_is_held_by_the_broker_and_not_by_the_worker(start_worker, call, app):
    start_worker()

    call("add", 1, 1).apply_async(countdown=3600)
    call("add", 1, 1).apply_async(eta=datetime.now(UTC) + timedelta(days=9 * 366))

    assert call("add", 2, 2).apply_async().get(WAIT) == 4
    assert held(app) == (2, 0)


def test_queues_whose_names_end_alike_do_not_get_each_others_tasks(start_worker, call, noted):
    start_worker("-Q", "mail,shop.mail")

    call("write", "one").apply_async(queue="mail", countdown=0.2).get(WAIT)
    call("write", "two").apply_async(queue="shop.mail", countdown=0.2).get(WAIT)

    assert noted("written") == ["one", "two"]


def test_several_retries_of_one_task_are_not_taken_for_a_loop(start_worker, call, noted):
    start_worker()

    assert call("flaky", 3).apply_async().get(WAIT) == 3
    assert len(noted("tries")) == 4


@pytest.mark.parametrize(
    "given", [{"countdown": 1e12}, {"eta": "soon"}, {"countdown": "x"}, {"eta": datetime.max.replace(tzinfo=UTC)}]
)
def test_an_impossible_delay_raises_at_the_call(call, given):
    with pytest.raises(BadDelay, match="Nothing was queued"):
        call("add", 1, 1).apply_async(**given)
