"""The state of the entries, from the records of the state queue."""

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
    """A state queue: records in their order, read by one leader after the other."""

    def __init__(self):
        self.records = []

    def put(self, kind, body=None, entry="", slot=None):
        tag = len(self.records) + 1
        self.records.append(Record(kind, f"id-{tag}", entry, slot, body or {}, tag, ""))
        return self.records[-1]

    def run(self, slot, entry="each"):
        return self.put(Kind.RUN, entry=entry, slot=at(slot))

    def control(self, kind, entry="each"):
        return self.put(kind, {"entry": entry}, entry)

    def pause(self, entry="each"):
        return self.control(Kind.PAUSE, entry)

    def read(self, now=NOON):
        state = ScheduleState()
        for record in self.records:
            state.read(record, now)
        return state

    def forget(self, tags):
        self.records = [record for record in self.records if record.tag not in tags]


@pytest.fixture
def queue():
    return Queue()


def entries(**periods):
    return {name: Entry(name, "probe.write", as_schedule(period), UTC) for name, period in periods.items()}


def last_and_runs(state, name="each"):
    entry = state.entries[name]
    return (entry.last - NOON).total_seconds(), entry.runs


def test_runs_in_any_order_are_counted_and_leave_the_latest_slot(queue):
    for slot in (10, 30, 20, 30):
        queue.run(slot)

    assert last_and_runs(queue.read()) == (30, 2)


def test_a_snapshot_has_the_earlier_runs_and_later_ones_are_added(queue):
    first = queue.read()
    list(first.adopt(entries(each=10), NOON))
    queue.put(Kind.SNAPSHOT, first.snapshot("a"))
    queue.run(10)

    assert last_and_runs(queue.read()) == (10, 1)
    assert queue.read().has_snapshot


def test_a_run_before_its_snapshot_counts(queue):
    """A broker with priorities may deliver it before."""
    first = queue.read()
    list(first.adopt(entries(each=10), NOON))
    queue.run(10)
    queue.put(Kind.SNAPSHOT, first.snapshot("a"))

    assert last_and_runs(queue.read())[0] == 10


def test_a_pause_during_the_publish_of_a_snapshot_stays(queue):
    # given a leader that publishes a snapshot while a pause is in transit, which arrives first
    leader = queue.read()
    list(leader.adopt(entries(each=10), NOON))
    written = leader.snapshot("a")
    pause = queue.pause()
    snapshot = queue.put(Kind.SNAPSHOT, written)

    # when the leader reads both
    leader.read(pause, NOON)
    done = leader.superseded_by(snapshot)

    # then the pause stays in the queue, and the next leader reads it too
    assert pause.tag not in done
    assert queue.read().entries["each"].paused
    later = queue.put(Kind.SNAPSHOT, leader.snapshot("a"))
    assert pause.tag in leader.superseded_by(later)


def test_a_snapshot_supersedes_records_without_changing_the_state(queue):
    leader = queue.read()
    list(leader.adopt(entries(each=10, other=20), NOON))
    for slot in (10, 20, 30):
        leader.entries["each"].runs += leader.entries["each"].advance_to(at(slot))
        leader.hold(queue.run(slot))
    pause = queue.pause(entry="other")
    leader.read(pause, NOON)
    before = queue.read()

    queue.forget(leader.superseded_by(queue.put(Kind.SNAPSHOT, leader.snapshot("a"))))

    assert [record.kind for record in queue.records] == [Kind.SNAPSHOT]
    after = queue.read()
    assert last_and_runs(after) == last_and_runs(before) == (30, 3)
    assert after.entries["other"].paused
    assert len(leader.held) == 1


def test_a_resumed_entry_skips_the_slots_of_its_pause(queue):
    queue.run(10)
    queue.pause()
    queue.control(Kind.RESUME)

    state = queue.read(at(100))

    assert not state.entries["each"].paused
    assert last_and_runs(state)[0] == 100


def test_an_entry_starts_when_it_is_first_seen_and_when_its_times_change(queue):
    state = queue.read()
    changes = list(state.adopt(entries(each=10), at(5)))

    assert last_and_runs(state) == (5, 0)
    (line,) = changes
    assert line.startswith("The state queue holds no state: it is new, or was purged or deleted. ")
    assert line.endswith("Every entry starts with its next slot from now: 'each'")
    assert list(state.adopt(entries(each=10), at(500))) == []
    assert last_and_runs(state) == (5, 0)
    assert list(state.adopt(entries(each=20), at(500))) == [
        "Entries with a new schedule start with its next slot from now: 'each'"
    ]
    assert last_and_runs(state) == (500, 0)


def test_a_removed_entry_has_no_state(queue):
    state = queue.read()
    list(state.adopt(entries(each=10, other=10), NOON))

    assert list(state.adopt(entries(each=10), NOON)) == [
        "Entries that this configuration does not have any more stop: 'other'"
    ]
    assert state.snapshot("a")["entries"].keys() == {"each"}
