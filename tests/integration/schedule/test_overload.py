"""Slots that are passed over, on both brokers: the leader is late, or the last task still runs."""

import pytest
from kombu import Exchange, Queue

from framework.limits import Unique


def entry_of(leadership, name="each"):
    return leadership._status()["entries"][name]


def test_slots_that_are_passed_over_are_logged_together_and_counted(scheduler, lead, work, clock, sent, caplog):
    """A15: they were skipped without a word."""
    first = lead(scheduler(some={"task": "probe.work", "schedule": 1, "missed": 3}, each=60, all_=60))
    clock.advance(600)
    work(first)

    assert [slot for name, slot in sent() if name == "some"] == [598.0, 599.0, 600.0]
    (line,) = [line for line in caplog.messages if "passed over" in line]
    assert "they were late for longer than `missed` allows: 615, most of 'some', " in line
    assert (entry_of(first, "some")["skipped"], entry_of(first, "some")["runs"]) == (597, 3)
    first.abandon()
    assert entry_of(lead(scheduler(some=1, each=60, all_=60)), "some")["skipped"] == 597


def test_hundreds_of_due_entries_are_sent_in_the_order_of_their_slots(scheduler, lead, work, clock, sent):
    """A15: finding the next of many entries took longer than sending it."""
    first = lead(scheduler(**{f"e{number}": 1 for number in range(200)}))
    clock.advance(2)
    work(first)

    slots = [slot for _, slot in sent()]
    assert slots == [1.0] * 200 + [2.0] * 200


def test_a_task_refused_among_many_in_flight_is_sent_once_its_queue_has_space(
    scheduler, lead, work, clock, sent, channel, app
):
    """A6: the confirms of many tasks are read together."""
    arguments = {"x-queue-type": "classic", "x-max-length": 3, "x-overflow": "reject-publish"}
    app.amqp.queues.add(Queue("small", queue_arguments=arguments))
    app.amqp.queues["small"](channel).declare()
    to_small = {"task": "probe.work", "schedule": 60, "options": {"queue": "small"}}
    entries = {f"e{number}": to_small for number in range(6)}
    leader = lead(scheduler(**entries))
    clock.advance(60)
    work(leader)
    found = sent("small")
    assert len(found) == 3
    for _ in range(3):
        leader.abandon()
        leader = lead(scheduler(**entries))
        work(leader)
        found += sent("small")
        clock.advance(6)

    assert sorted(found) == [(name, 60.0) for name in entries]
    assert [entry_of(leader, name)["runs"] for name in entries] == [1] * 6


@pytest.mark.parametrize("duplicate", ["existing", "raise"])
def test_a_unique_task_that_overruns_skips_its_slots_without_errors_or_a_backlog(
    scheduler, lead, work, clock, sent, app, channel, caplog, duplicate
):
    """D: each try was an ERROR, each 5 s, and once the task ended, its slots ran one after the other."""
    caplog.set_level("INFO")

    @app.task(name="local.alone", unique=Unique(duplicate=duplicate), shared=False)
    def alone(): ...

    first = lead(scheduler(each={"task": "local.alone", "schedule": 60, "missed": "all"}))
    for _ in range(4):
        clock.advance(60)
        work(first)
    first.abandon()
    second = lead(scheduler(each={"task": "local.alone", "schedule": 60, "missed": "all"}))
    work(second)

    assert sent() == [("each", 60.0)]
    lines = [line for line in caplog.messages if "'each' is skipped" in line]
    assert len(lines) == 3
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert (entry_of(second)["runs"], entry_of(second)["skipped"]) == (1, 3)


def test_a_unique_task_that_its_queue_refused_holds_no_lock(scheduler, lead, work, clock, sent, app, channel):
    """A6: a task that acquired something is not sent before the last one was confirmed."""
    arguments = {"x-queue-type": "classic", "x-max-length": 1, "x-overflow": "reject-publish"}
    app.amqp.queues.add(Queue("small", Exchange(""), routing_key="small", queue_arguments=arguments))

    @app.task(name="local.alone", unique=True, shared=False)
    def alone(): ...

    to_small = {"schedule": 60, "options": {"queue": "small"}}
    first = lead(scheduler(fills={"task": "probe.work", **to_small}))
    clock.advance(60)
    work(first)
    first.close()
    second = lead(scheduler(each={"task": "local.alone", **to_small}))
    clock.advance(60)
    work(second)
    assert entry_of(second)["refused"] == 1
    assert sent("small") == [("fills", 60.0)]
    clock.advance(200)  # its slot is passed over, and a later one runs
    work(second)

    assert sent("small") == [("each", 300.0)]
