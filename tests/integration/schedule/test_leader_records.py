"""How a leader reads the state queue and what it leaves there, on both brokers."""

import json

import pytest

from framework.schedule.messages import Kind, message, outcome

STATE = "celery.schedule"


@pytest.fixture
def put(channel):
    """Publish a record, as another scheduler or a command does."""

    def publish(kind, body=None, number="other", **properties):
        channel.basic_publish(message(kind, number, body or {}, **properties), routing_key=STATE, mandatory=True)

    return publish


def test_the_barrier_of_another_scheduler_does_not_begin_the_leadership(
    scheduler, lead, work, clock, sent, put, channel
):
    """It died before it led; what was sent since then must be read first."""
    lead(scheduler(each=60)).close()
    put(Kind.BARRIER)
    for minute in (1, 2):
        clock.advance(60)
        put(Kind.SENT, outcome("each", clock.now.replace(microsecond=0), 0), number=str(minute))

    second = lead(scheduler(each=60))
    work(second)

    assert sent() == []
    assert second._state.entries["each"].runs == 2


def test_a_slot_is_sent_at_its_very_time(scheduler, lead, work, clock, sent):
    first = lead(scheduler(each=60))
    clock.advance(59.499999)
    work(first)
    assert sent() == []
    clock.advance(0.000001)
    work(first)

    assert sent() == [("each", 60.0)]


def test_a_query_before_the_leadership_is_answered_once_it_begins(scheduler, lead, put, channel, eventually):
    lead(scheduler(each=60)).close()
    channel.queue_declare("answers", exclusive=True, auto_delete=True, arguments={"x-queue-type": "classic"})
    put(Kind.QUERY, reply_to="answers")

    first = lead(scheduler(each=60))

    answers = []
    eventually(lambda: answers.append(channel.basic_get("answers", no_ack=True)) or answers[-1])
    status = json.loads(answers[-1].body)
    assert status["since"] == first.leads_since.isoformat()
    assert status["entries"]["each"]["next"].endswith("12:01:00+00:00")


def test_a_snapshot_is_published_before_the_broker_takes_the_records_for_forgotten(scheduler, lead, work, clock):
    """RabbitMQ closes a channel that has not acknowledged a message for half an hour."""
    first = lead(scheduler(each=60))
    work(first)
    (before,) = first._state.held
    first._snapshot_at -= 301

    work(first)

    (after,) = first._state.held
    assert after > before


def test_one_snapshot_is_all_that_a_leadership_leaves_behind(scheduler, lead, work, clock, put, channel, eventually):
    first, second = lead(scheduler(each=60)), scheduler(each=60)
    for kind in ("no kind", Kind.HELLO, Kind.BARRIER, Kind.PAUSE, Kind.RESUME):
        put(kind, {"entry": "each"}, number=kind)
    put(Kind.QUERY)
    work(first, second)
    clock.advance(60)
    work(first, second)
    first._publish_snapshot()
    work(first, second)
    second.close()
    first.close()

    eventually(lambda: channel.queue_declare(STATE, passive=True).message_count == 1)
