"""Schedulers on both brokers, driven by a clock that the test sets: who leads, what is sent, what is known after."""

from datetime import UTC, datetime, timedelta

import pytest
from kombu import Connection, Exchange, Queue

from framework.schedule.entries import entries_of
from framework.schedule.leader import Leadership
from framework.schedule.leader_connection import LeadershipLost
from framework.schedule.next_run import jitter_of
from framework.schedule.publisher import SlotRefused

STATE = "celery.schedule"
START = datetime(2026, 11, 21, 12, 0, 0, 500_000, tzinfo=UTC)


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def scheduler(app, clock, broker_url):
    """Join the line with a configuration; ``{name: seconds}``, or whole entries."""
    terms = []

    def join(at=clock, put_off=None, **schedule):
        app.conf.beat_schedule = {
            name: given if isinstance(given, dict) else {"task": "probe.tell", "schedule": given, "args": (name,)}
            for name, given in schedule.items()
        }
        terms.append(Leadership(app, entries_of(app), at, put_off))
        return terms[-1]

    yield join
    for term in terms:
        term.abandon()


@pytest.fixture
def channel(broker_url, app):
    with Connection(broker_url, transport_options={"confirm_publish": True}) as connection:
        app.amqp.failed_queue(connection.default_channel).declare()
        app.amqp.queues["celery"](connection.default_channel).declare()
        yield connection.default_channel


@pytest.fixture
def sent(channel, eventually):
    """What was sent since the last look: entry, and seconds from noon to its slot."""

    def read(queue="celery"):
        found = []
        while (message := channel.basic_get(queue, no_ack=True)) is not None:
            slot = datetime.fromisoformat(message.headers["x-schedule-slot"])
            assert "BCC" not in message.headers
            found.append((message.headers["x-schedule-entry"], (slot - START).total_seconds() + 0.5))
        return found

    return read


@pytest.fixture
def lead(eventually):
    """Let a scheduler work until it leads."""

    def until(term):
        def leads():
            term.work(0.02)
            return term.leads_since

        eventually(leads, 20)
        return term

    return until


def settle(*terms):
    """Let schedulers hear what there is to hear, and do what there is to do."""
    for _ in range(15):
        for term in terms:
            term.work(0.01)


def test_who_comes_first_leads_and_the_others_do_nothing(scheduler, lead, clock, sent):
    first, second, third = (scheduler(each=1) for _ in range(3))
    lead(first)

    for _ in range(3):
        clock.advance(1)
        settle(first, second, third)

    assert second.leads_since is third.leads_since is None
    assert sent() == [("each", 1.0), ("each", 2.0), ("each", 3.0)]


@pytest.mark.parametrize("how", ["close", "abandon"])
def test_the_next_one_knows_what_was_sent_and_sends_what_was_not(scheduler, lead, clock, sent, how):
    # given a leader that sent two slots and died before the third
    first, second = scheduler(each=1), scheduler(each=1)
    lead(first)
    clock.advance(2)
    settle(first, second)
    getattr(first, how)()
    clock.advance(3)

    lead(second)
    settle(second)

    assert sent() == [("each", float(slot)) for slot in (1, 2, 3, 4, 5)]


def test_state_survives_when_nobody_is_there_for_a_while(scheduler, lead, clock, sent):
    lead(scheduler(each=10)).close()
    clock.advance(25)

    settle(lead(scheduler(each=10)))

    assert sent() == [("each", 10.0), ("each", 20.0)]


def test_a_task_that_was_confirmed_but_whose_leader_never_heard_of_it_is_not_sent_again(scheduler, lead, clock, sent):
    """The record is in the same publish: whatever happens after it, it is known."""
    first, second = scheduler(each=1), scheduler(each=1)
    lead(first)
    send = first._sender.send

    def dies_after(entry, slot):
        send(entry, slot)
        first.abandon()
        raise LeadershipLost("killed")

    first._sender.send = dies_after
    clock.advance(1)
    with pytest.raises(LeadershipLost):
        settle(first)

    settle(lead(second))

    assert sent() == [("each", 1.0)]


def test_who_lost_its_connection_cannot_send_any_more(scheduler, lead, clock, sent):
    first, second = scheduler(each=1), scheduler(each=1)
    lead(first)
    clock.advance(1)
    settle(first)
    first._lock._connection.collect()
    lead(second)
    clock.advance(1)

    with pytest.raises(LeadershipLost):
        first._run_due()
    settle(second)

    assert sent() == [("each", 1.0), ("each", 2.0)]


def test_ids_are_those_of_their_slots(scheduler, lead, clock, channel):
    first = lead(scheduler(each=1))
    clock.advance(2)
    settle(first)
    channel.queue_delete(STATE)

    # what was sent is forgotten, and sent again
    clock.advance(-1)
    again = lead(scheduler(each=1))
    clock.advance(1)
    settle(again)

    ids = [channel.basic_get("celery", no_ack=True).headers["id"] for _ in range(3)]
    assert ids[0] != ids[1] == ids[2]


def test_a_clock_that_is_set_back_repeats_nothing_and_one_set_forward_makes_up(scheduler, lead, clock, sent, caplog):
    first = lead(scheduler(each=60))
    for _ in range(2):
        clock.advance(60)
        settle(first)
    assert len(sent()) == 2

    clock.advance(-3600)
    settle(first)
    first.close()
    second = lead(scheduler(each=60))
    settle(second)
    clock.advance(1800)
    settle(second)
    assert sent() == []
    assert "is 3600 s behind the last slot of 'each'" in caplog.text

    clock.advance(1800 + 60)
    settle(second)
    assert sent() == [("each", 180.0)]


def test_what_was_missed_is_made_up_for_as_the_entry_says(scheduler, lead, clock, sent):
    task = {"task": "probe.tell", "schedule": 600}
    entries = {
        "all_": {**task, "missed": "all"},
        "latest": task,
        "some": {**task, "missed": 1600},
        "none": {**task, "missed": 60},
    }
    lead(scheduler(**entries)).close()
    clock.advance(3600 + 300)

    settle(lead(scheduler(**entries)))

    found = sent()
    assert [slot for name, slot in found if name == "all_"] == [600.0, 1200.0, 1800.0, 2400.0, 3000.0, 3600.0]
    assert [slot for name, slot in found if name == "latest"] == [3600.0]
    assert [slot for name, slot in found if name == "some"] == [2400.0, 3000.0, 3600.0]
    assert [slot for name, slot in found if name == "none"] == []


def test_a_queue_that_was_purged_while_nobody_led_is_a_start_afresh_and_that_is_said(
    scheduler, lead, clock, sent, channel, caplog
):
    lead(scheduler(each=60)).close()
    clock.advance(600)
    channel.queue_purge(STATE)

    second = lead(scheduler(each=60))
    settle(second)
    assert sent() == []
    clock.advance(60)
    settle(second)

    assert sent() == [("each", 660.0)]
    assert caplog.text.count("The state queue holds no state") == 2  # the first leader's, and this


def test_a_purge_under_a_leader_takes_nothing(scheduler, lead, clock, sent, channel):
    first = lead(scheduler(each=60))
    clock.advance(60)
    settle(first)

    channel.queue_purge(STATE)
    first.close()
    clock.advance(60)
    settle(lead(scheduler(each=60)))

    assert sent() == [("each", 60.0), ("each", 120.0)]


def test_a_queue_that_is_deleted_ends_the_term_and_the_next_starts_afresh(scheduler, lead, clock, sent, channel):
    first = lead(scheduler(each=60))
    clock.advance(60)
    settle(first)

    channel.queue_delete(STATE)
    with pytest.raises(LeadershipLost, match="deleted"):
        settle(first)
    clock.advance(600)
    second = lead(scheduler(each=60))
    settle(second)
    clock.advance(60)
    settle(second)

    assert sent() == [("each", 60.0), ("each", 720.0)]


def test_entries_that_are_new_moved_or_gone(scheduler, lead, clock, sent, caplog):
    lead(scheduler(stays=600, moves=600, goes=600)).close()
    clock.advance(660)

    second = lead(scheduler(stays=600, moves=60, comes=600))
    settle(second)
    assert sent() == [("stays", 600.0)]
    clock.advance(60)
    settle(second)
    assert sent() == [("moves", 720.0)]

    assert "New entries start with their next slot from now: 'comes'" in caplog.text
    assert "Entries with a new schedule start with its next slot from now: 'moves'" in caplog.text
    assert "Entries that this configuration does not have any more stop: 'goes'" in caplog.text


def test_a_configuration_that_differs_is_said_once(scheduler, lead, caplog):
    first = lead(scheduler(same=60, other=60))

    for _ in range(3):
        scheduler(same=60, other=61)
        settle(first)

    assert caplog.text.count("They differ in 'other'") == 1


def test_snapshots_keep_the_queue_short(scheduler, lead, clock, sent):
    first = lead(scheduler(each={"task": "probe.tell", "schedule": 1, "missed": "all"}))
    for _ in range(4):
        clock.advance(60)
        settle(first)

    assert len(first._journal.held) < 70
    first.close()
    settle(lead(scheduler(each={"task": "probe.tell", "schedule": 1, "missed": "all"})))

    assert sent() == [("each", float(slot)) for slot in range(1, 241)]


# How it is sent


def slots_of(sent, name="each"):
    return [slot for entry, slot in sent if entry == name]


def test_a_countdown_has_its_record_too(scheduler, lead, clock, sent, eventually):
    entry = {"task": "probe.tell", "schedule": 60, "options": {"countdown": 2}}
    first = lead(scheduler(each=entry))
    clock.advance(60)
    settle(first)
    first.close()

    second = lead(scheduler(each=entry))
    settle(second)

    assert sent() == []  # it is on its way
    found = []
    eventually(lambda: found.extend(sent()) or found, 20)
    settle(second)
    assert found == [("each", 60.0)]
    assert second._journal.entries["each"].runs == 1


def test_an_exchange_of_one_s_own_has_its_record_too(scheduler, lead, clock, sent, channel):
    for kind in ("topic", "direct", "fanout"):
        queue = Queue(f"to-{kind}", Exchange(f"of-{kind}", kind), routing_key="a.b")
        queue(channel).declare()
    entries = {
        kind: {"task": "probe.tell", "schedule": 60, "options": {"exchange": f"of-{kind}", "routing_key": "a.b"}}
        for kind in ("topic", "direct", "fanout")
    }
    first = lead(scheduler(**entries))
    clock.advance(60)
    settle(first)
    first.close()

    settle(lead(scheduler(**entries)))

    for kind in entries:
        assert sent(f"to-{kind}") == [(kind, 60.0)]


def test_a_record_outlives_the_expiry_of_its_task(scheduler, lead, clock, sent, channel):
    entry = {"task": "probe.tell", "schedule": 60, "options": {"expires": 0.1, "priority": 9}}
    first = lead(scheduler(each=entry))
    clock.advance(60)
    settle(first)
    first.close()

    settle(lead(scheduler(each=entry)))

    message = channel.basic_get("celery", no_ack=True)
    assert message.headers["expires"] is not None
    assert channel.basic_get("celery") is None


def test_a_queue_that_was_deleted_is_made_again(scheduler, lead, clock, sent, channel):
    first = lead(scheduler(each=60))
    clock.advance(60)
    settle(first)
    channel.queue_delete("celery")

    clock.advance(60)
    settle(first)

    assert sent() == [("each", 120.0)]


def test_an_entry_that_cannot_be_sent_keeps_the_others_from_nothing_and_is_tried_again(
    scheduler, lead, clock, sent, channel, caplog
):
    arguments = {"x-max-length": 0, "x-overflow": "reject-publish"}
    Queue("full", Exchange("of-full", "topic"), routing_key="x", queue_arguments=arguments)(channel).declare()
    bad = {"task": "probe.tell", "schedule": 60, "options": {"exchange": "nowhere", "routing_key": "x"}}
    never = {"task": "probe.tell", "schedule": 60, "args": (object(),)}
    full = {"task": "probe.tell", "schedule": 60, "options": {"exchange": "of-full", "routing_key": "x"}}
    first = lead(scheduler(bad=bad, full=full, never=never, good=60))
    clock.advance(60)
    settle(first)

    assert sent() == [("good", 60.0)]
    assert "probe.tell for 'bad' was not sent and is tried again in a while: the broker refuses it" in caplog.text
    assert "probe.tell for 'full' was not sent and is tried again in a while: its queue is full" in caplog.text
    assert "probe.tell for 'never' was not sent" in caplog.text
    queue = Queue("late", Exchange("nowhere", "topic"), routing_key="x")
    queue(channel).declare()
    clock.advance(6)
    settle(first)
    assert sent("late") == [("bad", 60.0)]
    assert first.leads_since is not None


def test_what_the_broker_refuses_in_a_way_that_costs_the_lead_is_put_off_and_the_others_are_sent(
    scheduler, lead, clock, sent
):
    put_off = {}
    bad = {"task": "probe.tell", "schedule": 60, "options": {"headers": {"CC": "no list"}}}
    first = lead(scheduler(bad=bad, good=60, put_off=put_off))
    clock.advance(60)
    with pytest.raises(SlotRefused):
        settle(first)

    settle(lead(scheduler(bad=bad, good=60, put_off=put_off)))

    assert put_off.keys() == {"bad"}
    assert sent() == [("good", 60.0)]


def test_results_and_events_are_sent_beside_and_are_no_slots(scheduler, lead, clock, sent, app):
    app.conf.task_send_sent_event = True
    entry = {"task": "probe.tell", "schedule": 60, "options": {"ignore_result": False}}
    first = lead(scheduler(each=entry))
    for _ in range(2):
        clock.advance(60)
        settle(first)
    first.close()

    settle(lead(scheduler(each=entry)))

    assert sent() == [("each", 60.0), ("each", 120.0)]


def test_jitter_delays_each_slot_by_as_much_on_every_server(scheduler, lead, clock, sent):
    entry = {"task": "probe.tell", "schedule": 600, "jitter": 300}
    delay = jitter_of("each", START + timedelta(seconds=599.5), 300)
    assert 2 < delay < 298
    first = lead(scheduler(each=entry))

    clock.advance(599.5 + delay - 1)
    settle(first)
    assert sent() == []
    first.close()
    second = lead(scheduler(each=entry))
    clock.advance(2)
    settle(second)

    assert sent() == [("each", 600.0)]


def test_a_task_of_this_process_decides_how_it_is_called(scheduler, lead, clock, sent, app, caplog):
    """Its own ``apply_async`` is called; one that publishes nothing leaves the slot open."""

    class Moody(app.Task):
        publishes = False

        def apply_async(self, *args, **options):
            return super().apply_async(*args, **options) if Moody.publishes else None

    @app.task(name="local.moody", base=Moody, shared=False)
    def moody(): ...

    first = lead(scheduler(each={"task": "local.moody", "schedule": 60}))
    clock.advance(60)
    settle(first)
    assert "its apply_async published nothing" in caplog.text

    Moody.publishes = True
    clock.advance(6)
    settle(first)

    assert sent() == [("each", 60.0)]


def test_a_scheduler_that_cannot_take_its_place_does_not_stay_in_the_line(scheduler, lead, clock, sent, app, channel):
    """The state queue is there with other arguments: nobody becomes a consumer."""
    channel.queue_declare("other", durable=True, auto_delete=False)
    app.conf.beat_queue = "other"

    for _ in range(3):
        with pytest.raises(LeadershipLost, match="PRECONDITION_FAILED"):
            scheduler(each=60)

    assert channel.queue_declare("other", passive=True).consumer_count == 0


def test_what_anybody_else_writes_into_the_queue_ends_nobody(scheduler, lead, clock, sent, channel):
    first = lead(scheduler(each=60))
    kinds = ("hello", "barrier", "snapshot", "run", "query", "pause", "resume", "no kind", 7)
    for headers in ({}, *({"x-schedule": kind} for kind in kinds)):
        for body in ("", "{}", "[]", "not json", '{"entries": 7}', '{"entries": {"each": 7}}'):
            message = channel.prepare_message(body, headers=headers, content_encoding="utf-8")
            channel.basic_publish(message, routing_key=STATE)
    settle(first, first, first, first)
    first.close()

    second = lead(scheduler(each=60))
    clock.advance(60)
    settle(second)

    assert sent() == [("each", 60.0)]
