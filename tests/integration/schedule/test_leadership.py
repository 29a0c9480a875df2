"""Schedulers on both brokers, driven by a clock that the test sets: leadership, sent slots, and the stored state."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from celery.beat import BeatLazyFunc
from kombu import Exchange, Queue

from framework.schedule.leader_connection import LeadershipLost
from framework.schedule.next_run import jitter_of

STATE = "celery.schedule"
START = datetime(2026, 11, 21, 12, 0, 0, 500_000, tzinfo=UTC)


def stop_consuming(channel):
    """Let another scheduler be the active consumer, while the connection stays open."""
    for tag in list(getattr(channel, "consumers", None) or channel.callbacks):
        channel.basic_cancel(tag)


def test_the_first_scheduler_leads_and_the_others_do_nothing(work, scheduler, lead, clock, sent):
    first, second, third = (scheduler(each=1) for _ in range(3))
    lead(first)

    for _ in range(3):
        clock.advance(1)
        work(first, second, third)

    assert second.leads_since is third.leads_since is None
    assert sent() == [("each", 1.0), ("each", 2.0), ("each", 3.0)]


@pytest.mark.parametrize("how", ["close", "abandon"])
def test_the_next_leader_sends_the_slots_that_were_not_sent(work, scheduler, lead, clock, sent, how):
    # given a leader that sent two slots and died before the third
    first, second = scheduler(each=1), scheduler(each=1)
    lead(first)
    clock.advance(2)
    work(first, second)
    getattr(first, how)()
    clock.advance(3)

    lead(second)
    work(second)

    assert sent() == [("each", float(slot)) for slot in (1, 2, 3, 4, 5)]


def test_a_leader_whose_records_go_to_another_scheduler_sends_nothing(app, work, scheduler, lead, clock, sent):
    """A healed partition leaves such a leader: its connection is open, and it is no longer the active consumer."""
    app.conf.task_publish_timeout = 3
    first = lead(scheduler(each=1))
    stop_consuming(first._connection.channel)
    second = lead(scheduler(each=1))
    clock.advance(1)
    work(second)

    with pytest.raises(LeadershipLost, match="another scheduler"):
        work(first)

    assert sent() == [("each", 1.0)]


def test_the_state_survives_a_time_without_schedulers(work, scheduler, lead, clock, sent):
    lead(scheduler(each=10)).close()
    clock.advance(25)

    work(lead(scheduler(each=10)))

    assert sent() == [("each", 10.0), ("each", 20.0)]


def test_a_task_whose_confirm_did_not_reach_the_leader_is_not_sent_again(work, scheduler, lead, clock, sent):
    """The record is in the same publish, so the next leader has it."""
    first, second = scheduler(each=1), scheduler(each=1)
    lead(first)
    send = first._sender.send

    def dies_after(*args, **options):
        send(*args, **options)
        first.abandon()
        raise LeadershipLost("killed")

    first._sender.send = dies_after
    clock.advance(1)
    with pytest.raises(LeadershipLost):
        work(first)

    work(lead(second))

    assert sent() == [("each", 1.0)]


def test_a_leader_without_its_connection_cannot_send(work, scheduler, lead, clock, sent):
    first, second = scheduler(each=1), scheduler(each=1)
    lead(first)
    clock.advance(1)
    work(first)
    first._connection._connection.collect()
    lead(second)
    clock.advance(1)

    with pytest.raises(LeadershipLost):
        first._run_due()
    work(second)

    assert sent() == [("each", 1.0), ("each", 2.0)]


def test_the_id_of_a_task_depends_on_its_slot_alone(work, scheduler, lead, clock, channel):
    first = lead(scheduler(each=1))
    clock.advance(2)
    work(first)
    channel.queue_delete(STATE)

    # without its state, a slot is sent a second time
    clock.advance(-1)
    again = lead(scheduler(each=1))
    clock.advance(1)
    work(again)

    ids = [channel.basic_get("celery", no_ack=True).headers["id"] for _ in range(3)]
    assert ids[0] != ids[1] == ids[2]


def test_a_clock_set_back_repeats_no_slot_and_one_set_forward_runs_the_missed_ones(
    work, scheduler, lead, clock, sent, caplog
):
    first = lead(scheduler(each=60))
    for _ in range(2):
        clock.advance(60)
        work(first)
    assert len(sent()) == 2

    clock.advance(-3600)
    work(first)
    first.close()
    second = lead(scheduler(each=60))
    work(second)
    clock.advance(1800)
    work(second)
    assert sent() == []
    assert "is 3600 s behind the last slot of 'each'" in caplog.text

    clock.advance(1800 + 60)
    work(second)
    assert sent() == [("each", 180.0)]


def test_missed_slots_are_run_as_the_entry_says(work, scheduler, lead, clock, sent):
    task = {"task": "probe.work", "schedule": 600}
    entries = {
        "all_": {**task, "missed": "all"},
        "latest": task,
        "some": {**task, "missed": 1600},
        "none": {**task, "missed": 60},
    }
    lead(scheduler(**entries)).close()
    clock.advance(3600 + 300)

    work(lead(scheduler(**entries)))

    found = sent()
    assert [slot for name, slot in found if name == "all_"] == [600.0, 1200.0, 1800.0, 2400.0, 3000.0, 3600.0]
    assert [slot for name, slot in found if name == "latest"] == [3600.0]
    assert [slot for name, slot in found if name == "some"] == [2400.0, 3000.0, 3600.0]
    assert [slot for name, slot in found if name == "none"] == []


def test_a_queue_purged_without_a_leader_starts_every_entry_from_now_with_a_warning(
    work, scheduler, lead, clock, sent, channel, caplog, eventually
):
    lead(scheduler(each=60)).close()
    clock.advance(600)
    eventually(lambda: channel.queue_purge(STATE))  # what the first leader held is back in the queue

    second = lead(scheduler(each=60))
    work(second)
    assert sent() == []
    clock.advance(60)
    work(second)

    assert sent() == [("each", 660.0)]
    assert caplog.text.count("The state queue holds no state") == 2  # of the first leader, and of the second


def test_a_purge_under_a_leader_loses_no_state(work, scheduler, lead, clock, sent, channel):
    first = lead(scheduler(each=60))
    clock.advance(60)
    work(first)

    channel.queue_purge(STATE)
    first.close()
    clock.advance(60)
    work(lead(scheduler(each=60)))

    assert sent() == [("each", 60.0), ("each", 120.0)]


def test_a_deleted_queue_ends_the_leadership_and_the_next_leader_starts_from_now(
    work, scheduler, lead, clock, sent, channel, eventually
):
    first = lead(scheduler(each=60))
    clock.advance(60)
    work(first)

    channel.queue_delete(STATE)
    with pytest.raises(LeadershipLost, match="deleted"):
        eventually(lambda: work(first))
    clock.advance(600)
    second = lead(scheduler(each=60))
    work(second)
    clock.advance(60)
    work(second)

    assert sent() == [("each", 60.0), ("each", 720.0)]


def test_new_moved_and_removed_entries_start_and_stop(work, scheduler, lead, clock, sent, caplog):
    lead(scheduler(stays=600, moves=600, goes=600)).close()
    clock.advance(660)

    second = lead(scheduler(stays=600, moves=60, comes=600))
    work(second)
    assert sent() == [("stays", 600.0)]
    clock.advance(60)
    work(second)
    assert sent() == [("moves", 720.0)]

    assert "New entries start with their next slot from now: 'comes'" in caplog.text
    assert "Entries with a new schedule start with its next slot from now: 'moves'" in caplog.text
    assert "Entries that this configuration does not have any more stop: 'goes'" in caplog.text


def test_a_configuration_that_differs_is_logged_once(work, scheduler, lead, caplog, eventually):
    first = lead(scheduler(same=60, other=60))

    for _ in range(3):
        scheduler(same=60, other=61)
        work(first)
    scheduler(same=61, other=60)
    eventually(lambda: work(first) or "They differ in 'same'" in caplog.text)  # the last one: all were read

    assert caplog.text.count("They differ in 'other'") == 1


def test_snapshots_keep_the_queue_short(work, scheduler, lead, clock, sent, eventually):
    first = lead(scheduler(each={"task": "probe.work", "schedule": 1, "missed": "all"}))
    for _ in range(4):
        clock.advance(60)
        work(first)

    eventually(lambda: work(first) or first._snapshot in {record.id for record in first._state._held.values()})
    assert len(first._state.held) < 70
    first.close()
    work(lead(scheduler(each={"task": "probe.work", "schedule": 1, "missed": "all"})))

    assert sent() == [("each", float(slot)) for slot in range(1, 241)]


# How it is sent


def slots_of(sent, name="each"):
    return [slot for entry, slot in sent if entry == name]


def test_a_countdown_has_its_record_too(work, scheduler, lead, clock, sent, eventually):
    entry = {"task": "probe.work", "schedule": 60, "options": {"countdown": 2}}
    first = lead(scheduler(each=entry))
    clock.advance(60)
    sent_at = time.monotonic()
    work(first)
    first.close()

    second = lead(scheduler(each=entry))
    work(second)

    found = []
    eventually(lambda: found.extend(sent()) or found)
    assert time.monotonic() - sent_at >= 2
    work(second)
    assert found == [("each", 60.0)]
    assert second._state.entries["each"].runs == 1


def test_a_task_for_a_custom_exchange_has_its_record_too(work, scheduler, lead, clock, sent, channel):
    for kind in ("topic", "direct", "fanout"):
        queue = Queue(f"to-{kind}", Exchange(f"of-{kind}", kind), routing_key="a.b")
        queue(channel).declare()
    entries = {
        kind: {"task": "probe.work", "schedule": 60, "options": {"exchange": f"of-{kind}", "routing_key": "a.b"}}
        for kind in ("topic", "direct", "fanout")
    }
    first = lead(scheduler(**entries))
    clock.advance(60)
    work(first)
    first.close()

    work(lead(scheduler(**entries)))

    for kind in entries:
        assert sent(f"to-{kind}") == [(kind, 60.0)]


def test_a_record_outlives_the_expiry_of_its_task(work, scheduler, lead, clock, sent, channel):
    entry = {"task": "probe.work", "schedule": 60, "options": {"expires": 0.1, "priority": 9}}
    first = lead(scheduler(each=entry))
    clock.advance(60)
    work(first)
    first.close()

    work(lead(scheduler(each=entry)))

    message = channel.basic_get("celery", no_ack=True)
    assert message.headers["expires"] is not None
    assert channel.basic_get("celery") is None


def test_a_deleted_task_queue_is_declared_again(work, scheduler, lead, clock, sent, channel):
    first = lead(scheduler(each=60))
    clock.advance(60)
    work(first)
    channel.queue_delete("celery")

    clock.advance(60)
    work(first)

    assert sent() == [("each", 120.0)]


def test_an_entry_that_cannot_be_sent_does_not_stop_the_others_and_is_retried(
    work, scheduler, lead, clock, sent, channel, caplog
):
    arguments = {"x-max-length": 0, "x-overflow": "reject-publish"}
    Queue("full", Exchange("of-full", "topic"), routing_key="x", queue_arguments=arguments)(channel).declare()
    bad = {"task": "probe.work", "schedule": 60, "options": {"exchange": "nowhere", "routing_key": "x"}}
    lazy = {"task": "probe.work", "schedule": 60, "args": (BeatLazyFunc(object),)}
    full = {"task": "probe.work", "schedule": 60, "options": {"exchange": "of-full", "routing_key": "x"}}
    first = lead(scheduler(bad=bad, full=full, lazy=lazy, good=60))
    clock.advance(60)
    work(first)

    assert sent() == [("good", 60.0)]
    assert "probe.work for 'bad' was not sent and is retried in 5 s: the broker refuses it" in caplog.text
    assert "probe.work for 'full' was not sent and is retried in 5 s: its queue is full" in caplog.text
    assert "probe.work for 'lazy' was not sent" in caplog.text
    queue = Queue("late", Exchange("nowhere", "topic"), routing_key="x")
    queue(channel).declare()
    clock.advance(6)
    work(first)
    assert sent("late") == [("bad", 60.0)]
    assert first.leads_since is not None


def test_results_and_events_are_no_slots(work, scheduler, lead, clock, sent, app):
    app.conf.task_send_sent_event = True
    entry = {"task": "probe.work", "schedule": 60, "options": {"ignore_result": False}}
    first = lead(scheduler(each=entry))
    for _ in range(2):
        clock.advance(60)
        work(first)
    first.close()

    work(lead(scheduler(each=entry)))

    assert sent() == [("each", 60.0), ("each", 120.0)]


def test_jitter_delays_a_slot_by_the_same_on_every_server(work, scheduler, lead, clock, sent):
    entry = {"task": "probe.work", "schedule": 600, "jitter": 300}
    delay = jitter_of("each", START + timedelta(seconds=599.5), 300)
    assert 2 < delay < 298
    first = lead(scheduler(each=entry))

    clock.advance(599.5 + delay - 1)
    work(first)
    assert sent() == []
    first.close()
    second = lead(scheduler(each=entry))
    clock.advance(2)
    work(second)

    assert sent() == [("each", 600.0)]


def test_the_apply_async_of_a_task_class_is_called(work, scheduler, lead, clock, sent, app, caplog):
    """Its own ``apply_async`` is called; one that publishes nothing leaves the slot open."""

    class Moody(app.Task):
        publishes = False

        def apply_async(self, *args, **options):
            return super().apply_async(*args, **options) if Moody.publishes else None

    @app.task(name="local.moody", base=Moody, shared=False)
    def moody(): ...

    first = lead(scheduler(each={"task": "local.moody", "schedule": 60}))
    clock.advance(60)
    work(first)
    assert "its apply_async published nothing" in caplog.text

    Moody.publishes = True
    clock.advance(6)
    work(first)

    assert sent() == [("each", 60.0)]


def test_a_scheduler_that_cannot_start_leaves_no_consumer(scheduler, lead, clock, sent, app, channel):
    """The state queue exists with other arguments."""
    channel.queue_declare("other", durable=True, auto_delete=False)
    app.conf.beat_queue = "other"

    for _ in range(3):
        with pytest.raises(LeadershipLost, match="PRECONDITION_FAILED"):
            scheduler(each=60)

    assert channel.queue_declare("other", passive=True).consumer_count == 0


def test_invalid_messages_in_the_state_queue_end_no_leadership(work, scheduler, lead, clock, sent, channel):
    first = lead(scheduler(each=60))
    kinds = ("hello", "barrier", "snapshot", "run", "query", "pause", "resume", "no kind", 7)
    for headers in ({}, *({"x-schedule": kind} for kind in kinds)):
        for body in ("", "{}", "[]", "not json", '{"entries": 7}', '{"entries": {"each": 7}}'):
            message = channel.prepare_message(body, headers=headers, content_encoding="utf-8")
            channel.basic_publish(message, routing_key=STATE)
    work(first, first, first, first)
    first.close()

    second = lead(scheduler(each=60))
    clock.advance(60)
    work(second)

    assert sent() == [("each", 60.0)]
