"""Slots whose task cannot be sent, on both brokers: what the state says and what the queues have agrees."""

import pytest
from kombu import Exchange, Queue

from framework.schedule.leader_connection import LeadershipLost
from framework.schedule.publisher import SlotRefused


@pytest.fixture
def full(app, channel):
    """A task queue for one task, which is there; call it to make room."""
    arguments = {"x-queue-type": "classic", "x-max-length": 1, "x-overflow": "reject-publish"}
    app.amqp.queues.add(Queue("full", queue_arguments=arguments))
    app.amqp.queues["full"](channel).declare()
    message = channel.prepare_message("{}", content_encoding="utf-8")
    channel.basic_publish(message, routing_key="full", mandatory=True)
    return lambda: channel.queue_purge("full")


TO_FULL = {"task": "probe.work", "schedule": 60, "options": {"queue": "full"}}
UNBOUND = {"task": "probe.work", "schedule": 60, "options": {"exchange": "unbound", "routing_key": "x"}}


def runs(leadership, name="each"):
    return leadership._state.entries[name].runs


def test_a_slot_that_its_full_queue_refused_is_not_recorded_as_run_under_any_leader(
    scheduler, lead, work, clock, sent, full
):
    """A6: the copy of a refused task is in the state queue, and the next leader believed it."""
    first = lead(scheduler(each=TO_FULL, other=60))
    clock.advance(60)
    work(first)
    first.abandon()
    clock.advance(1)

    second = lead(scheduler(each=TO_FULL, other=60))
    work(second)
    assert (runs(second), runs(second, "other")) == (0, 1)
    full()
    clock.advance(6)
    work(second)

    assert sent("full") == [("each", 60.0)]
    assert sent() == [("other", 60.0)]


def test_a_leader_killed_in_each_step_of_a_refusal_leaves_a_state_that_agrees_with_the_queue(
    scheduler, lead, work, clock, sent, full
):
    """A6, through kills: after the retry was refused, after it was accepted, and after its record."""
    first = lead(scheduler(each=TO_FULL))
    clock.advance(60)
    work(first)

    # killed after the retry was refused, before it did anything about that
    killed_after(first)
    clock.advance(6)
    with pytest.raises(LeadershipLost):
        work(first)
    second = lead(scheduler(each=TO_FULL))
    assert runs(second) == 0

    # killed after the record of the accepted retry
    full()
    killed_after(second)
    clock.advance(6)
    with pytest.raises(LeadershipLost):
        work(second)
    third = lead(scheduler(each=TO_FULL))
    work(third)

    assert runs(third) == 1
    assert sent("full") == [("each", 60.0)]


def killed_after(leadership):
    """Let a leader's connection end once its sender has tried to send."""
    send = leadership._sender.send

    def then_killed(*args, **options):
        try:
            send(*args, **options)
        finally:
            leadership.abandon()
            raise LeadershipLost("killed")

    leadership._sender.send = then_killed


def test_an_exchange_without_a_bound_queue_leaves_the_slot_open_with_an_error(
    scheduler, lead, work, clock, sent, channel, caplog
):
    """A6: such an entry had runs, sent nothing, and logged nothing."""
    Exchange("unbound", "topic")(channel).declare()
    first = lead(scheduler(each=UNBOUND, other=60))
    clock.advance(60)
    work(first)

    assert (runs(first), first._state.entries["each"].refused) == (0, 1)
    assert "probe.work for 'each' was not sent and is retried in 5 s: no queue takes it" in caplog.text
    assert sent() == [("other", 60.0)]
    Queue("late", Exchange("unbound", "topic"), routing_key="x")(channel).declare()
    first.abandon()
    second = lead(scheduler(each=UNBOUND, other=60))
    work(second)
    assert sent("late") == [("each", 60.0)]
    second.abandon()
    work(third := lead(scheduler(each=UNBOUND, other=60)))
    assert (sent("late"), runs(third)) == ([], 1)


def test_a_queue_that_is_deleted_again_and_again_loses_no_slot(scheduler, lead, work, clock, sent, channel):
    """A6: a copy is always routed, so the broker does not return a task whose queue is gone."""
    first = lead(scheduler(each=60))
    for minute in (1, 2, 3):
        channel.queue_delete("celery")
        clock.advance(60)
        work(first)
        assert sent() == [("each", 60.0 * minute)]


def test_retries_of_a_refused_slot_become_rarer_and_are_counted(scheduler, lead, work, clock, full, caplog):
    first = lead(scheduler(each={**TO_FULL, "schedule": 3600, "missed": "all"}))
    clock.advance(3600)
    for _ in range(100):
        clock.advance(1)
        work(first, times=1)

    lines = [line.split(" is retried in ")[1] for line in caplog.messages if "was not sent" in line]
    assert [line.split(":")[0] for line in lines] == ["5 s", "10 s", "20 s", "40 s", "60 s"]
    assert first._status()["entries"]["each"]["refused"] == 5


def test_a_message_that_cannot_be_encoded_at_its_time_costs_no_leadership(scheduler, lead, work, clock, sent, app):
    """A7: the encoder's error was taken for one of the connection."""

    class Odd(app.Task):
        def apply_async(self, *args, headers=None, **options):
            return super().apply_async(*args, headers={**headers, **odd}, **options)

    @app.task(name="local.odd", base=Odd, shared=False)
    def task(): ...

    odd = {"odd": object()}
    first = lead(scheduler(each={"task": "local.odd", "schedule": 60}, other=60))
    for minute, odd in enumerate(({"odd": object()}, {"CC": "no list"}, {1: 2}), 1):  # noqa: B007
        clock.advance(60)
        work(first)
        assert sent() == [("other", 60.0 * minute)]
    odd = {}
    clock.advance(60)
    work(first)

    assert sorted(sent()) == [("each", 240.0), ("other", 240.0)]
    assert first.leads_since is not None


@pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)
def test_what_the_broker_refuses_by_closing_the_channel_costs_the_leadership_once(scheduler, lead, work, clock, sent):
    """A7: a user id that is not the connection's, which only the broker knows."""
    postponed = {}
    bad = {"task": "probe.work", "schedule": 60, "options": {"user_id": "a stranger"}}
    first = lead(scheduler(bad=bad, good=60, postponed=postponed))
    clock.advance(60)
    with pytest.raises(SlotRefused):
        work(first)

    second = lead(scheduler(bad=bad, good=60, postponed=postponed))
    clock.advance(6)
    for minute in (1, 2, 3):
        work(second)
        assert sent() == [("good", 60.0 * minute)]
        clock.advance(60)

    assert postponed["bad"].failures >= 3


def test_a_deleted_exchange_ends_no_leadership(scheduler, lead, work, clock, sent, channel):
    """A7: RabbitMQ closes the channel on which a task for no exchange is published."""
    Queue("bound", Exchange("fleeting", "topic"), routing_key="x")(channel).declare()
    first = lead(scheduler(each={**UNBOUND, "options": {"exchange": "fleeting", "routing_key": "x"}}, other=60))
    clock.advance(60)
    work(first)
    channel.exchange_delete("fleeting")
    clock.advance(60)
    work(first)

    assert sent("bound") == [("each", 60.0)]
    assert sent() == [("other", 60.0), ("other", 120.0)]
    assert runs(first) == 1
