"""What is known of the entries, from the records of the state queue."""

from datetime import UTC, datetime, timedelta

import pytest

from framework.schedule.entries import Entry
from framework.schedule.messages import Kind, Record
from framework.schedule.next_run import as_schedule
from framework.schedule.state import ScheduleState

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def at(seconds):
    return NOON + timedelta(seconds=seconds)


class Queue:
    """A state queue: records in their order, read by one journal after the other."""

    def __init__(self):
        self.records = []

    def put(self, kind, body=None, entry="", slot=None):
        tag = len(self.records) + 1
        self.records.append(Record(kind, f"id-{tag}", entry, slot, body or {}, tag, ""))
        return self.records[-1]

    def run(self, slot, entry="each"):
        return self.put(Kind.RUN, entry=entry, slot=at(slot))

    def pause(self, seconds=0, entry="each"):
        return self.put(Kind.PAUSE, {"entry": entry, "at": at(seconds).isoformat()})

    def resume(self, seconds, entry="each"):
        return self.put(Kind.RESUME, {"entry": entry, "at": at(seconds).isoformat()})

    def read(self):
        journal = ScheduleState()
        for record in self.records:
            journal.read(record)
        return journal

    def forget(self, tags):
        self.records = [record for record in self.records if record.tag not in tags]


@pytest.fixture
def queue():
    return Queue()


def entries(**periods):
    return {name: Entry(name, "probe.tell", as_schedule(period), UTC) for name, period in periods.items()}


def known(journal, name="each"):
    state = journal.entries[name]
    return (state.last - NOON).total_seconds(), state.runs


def test_runs_are_counted_and_the_latest_slot_is_kept_in_whatever_order_they_come(queue):
    for slot in (10, 30, 20, 30):
        queue.run(slot)

    assert known(queue.read()) == (30, 2)


def test_a_snapshot_says_all_that_was_before_and_what_follows_is_added(queue):
    first = queue.read()
    list(first.begin(entries(each=10), NOON))
    queue.put(Kind.SNAPSHOT, first.snapshot("a"))
    queue.run(10)

    assert known(queue.read()) == (10, 1)
    assert queue.read().found


def test_a_run_that_overtook_its_snapshot_is_not_forgotten(queue):
    """A broker with priorities may deliver it before."""
    first = queue.read()
    list(first.begin(entries(each=10), NOON))
    queue.run(10)
    queue.put(Kind.SNAPSHOT, first.snapshot("a"))

    assert known(queue.read())[0] == 10


def test_a_pause_that_came_while_a_snapshot_was_written_holds(queue):
    # given a leader that writes a snapshot while a pause is on its way, which comes first into the queue
    leader = queue.read()
    list(leader.begin(entries(each=10), NOON))
    written = leader.snapshot("a")
    pause = queue.pause()
    snapshot = queue.put(Kind.SNAPSHOT, written)

    # when the leader hears of both
    leader.read(pause)
    done = leader.superseded_by(snapshot)

    # then the pause stays in the queue, and is known to the next leader too
    assert pause.tag not in done
    assert queue.read().entries["each"].paused
    later = queue.put(Kind.SNAPSHOT, leader.snapshot("a"))
    assert pause.tag in leader.superseded_by(later)


def test_what_a_snapshot_covers_is_needed_no_more_and_the_rest_is_the_same(queue):
    leader = queue.read()
    list(leader.begin(entries(each=10, other=20), NOON))
    for slot in (10, 20, 30):
        leader.entries["each"].runs += leader.entries["each"].pass_over(at(slot))
        leader.hold(queue.run(slot))
    pause = queue.pause(entry="other")
    leader.read(pause)
    before = queue.read()

    queue.forget(leader.superseded_by(queue.put(Kind.SNAPSHOT, leader.snapshot("a"))))

    assert [record.kind for record in queue.records] == [Kind.SNAPSHOT]
    after = queue.read()
    assert known(after) == known(before) == (30, 3)
    assert after.entries["other"].paused
    assert len(leader.held) == 1


def test_what_a_paused_entry_missed_is_left_out_when_it_goes_on(queue):
    queue.run(10)
    queue.pause(15)
    queue.resume(100)

    journal = queue.read()

    assert not journal.entries["each"].paused
    assert known(journal)[0] == 100


def test_an_entry_begins_when_it_is_first_seen_and_again_when_its_times_change(queue):
    journal = queue.read()
    said = list(journal.begin(entries(each=10), at(5)))

    assert known(journal) == (5, 0)
    (line,) = said
    assert line.startswith("The state queue holds no state: it is new, or was purged or deleted. ")
    assert line.endswith("Every entry starts with its next slot from now: 'each'")
    assert list(journal.begin(entries(each=10), at(500))) == []
    assert known(journal) == (5, 0)
    assert list(journal.begin(entries(each=20), at(500))) == [
        "Entries with a new schedule start with its next slot from now: 'each'"
    ]
    assert known(journal) == (500, 0)


def test_an_entry_that_is_gone_is_forgotten(queue):
    journal = queue.read()
    list(journal.begin(entries(each=10, other=10), NOON))

    assert list(journal.begin(entries(each=10), NOON)) == [
        "Entries that this configuration does not have any more stop: 'other'"
    ]
    assert journal.snapshot("a")["entries"].keys() == {"each"}
