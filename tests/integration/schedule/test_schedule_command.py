"""`framework schedule`, and schedulers as processes, on both brokers."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime

import pytest
from kombu import Connection

from framework.schedule import Schedules

pytestmark = pytest.mark.timeout(300)  # most tests run several programs in turn

FRAMEWORK = [sys.executable, "-m", "framework"]
CONFIG = """
from celery.schedules import crontab
from framework.discovery import find_tasks_in_project
from framework.schedule import control, cron
control.REPLY_TIMEOUT_SECONDS = 30.0  # on a busy machine the leader replies late
imports = find_tasks_in_project('probe')
timezone = "Europe/Madrid"
beat_schedule = {
    "each": {"task": "probe.tasks.any-name.note_slot", "schedule": 1.0, "missed": "all"},
    "monthly": {"task": "probe.tasks.any-name.write", "schedule": "2nd Tuesday 01:00", "args": ("monthly",)},
    "nightly": {"task": "probe.tasks.any-name.write", "schedule": crontab(minute=0, hour=0), "args": ("nightly",)},
}
"""
NOTE_SLOT = """

@celery.task(bind=True)
def note_slot(self):
    note("slots", self.request.get("x-schedule-slot"))
"""


@pytest.fixture
def scheduled(project):
    (project / "celeryconfig.py").write_text(CONFIG)
    with (project / "probe/tasks/any-name.py").open("a") as file:
        file.write(NOTE_SLOT)
    return project


@pytest.fixture
def typed(scheduled, environment):
    """Run `framework ...` in the project's folder; return its output."""

    def run(*args, status=0):
        done = subprocess.run(
            [*FRAMEWORK, *args], cwd=scheduled, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback (most" not in done.stdout + done.stderr
        return done.stderr if status else done.stdout

    return run


@pytest.fixture
def start_beat(scheduled, environment):
    """Start `framework beat`."""
    running = []

    def start():
        running.append(
            subprocess.Popen([*FRAMEWORK, "beat", "-l", "INFO"], cwd=scheduled, env=environment, stderr=subprocess.PIPE)
        )
        return running[-1]

    yield start
    for beat in running:
        beat.kill()
        beat.wait()
        beat.stderr.close()


@pytest.fixture
def status(typed):
    return lambda: json.loads(typed("schedule", "list", "--json"))


@pytest.fixture
def schedules(app):
    app.conf.beat_schedule = {}
    return Schedules(app)


@pytest.fixture
def runs(schedules):
    """How many tasks the leader has sent for the entry `each`."""
    return lambda: sum(entry.runs for entry in schedules.status().entries if entry.name == "each")


@pytest.fixture
def leads(schedules, eventually):
    """Wait until a scheduler leads: a certain process, or any."""

    def wait(beat=None):
        eventually(lambda: (leader := schedules.status().leader) and (not beat or leader.endswith(f":{beat.pid}")))

    return wait


def test_without_a_leader_the_configuration_is_listed(typed, status):
    lines = typed("schedule", "list").splitlines()

    assert lines[0].startswith("No scheduler is running; this is what the configuration says.")
    assert lines[1] == "each  probe.tasks.any-name.note_slot"
    assert status()["leader"] is None
    assert "framework_schedule_leader 0" in typed("schedule", "list", "--prometheus").splitlines()


def test_the_leader_is_listed_and_the_next_one_after_it_was_killed(start_beat, typed, status, leads, runs, eventually):
    first = start_beat()
    leads(first)
    second = start_beat()

    first.kill()

    leads(second)
    eventually(lambda: runs() >= 1)
    found = status()
    assert datetime.fromisoformat(found["since"]) <= datetime.fromisoformat(found["tick"])
    assert [entry["name"] for entry in found["entries"]] == ["each", "monthly", "nightly"]
    assert all(entry["same_here"] for entry in found["entries"])
    metrics = dict(line.rsplit(" ", 1) for line in typed("schedule", "list", "--prometheus").splitlines())
    of_each = '{entry="each",task="probe.tasks.any-name.note_slot"}'
    assert metrics["framework_schedule_leader"] == "1"
    assert float(metrics[f"framework_schedule_entry_runs_total{of_each}"]) >= 1
    assert metrics[f"framework_schedule_entry_paused{of_each}"] == "0"
    assert float(metrics[f"framework_schedule_entry_next_timestamp_seconds{of_each}"]) > time.time() - 60


def test_a_paused_entry_stays_paused_under_the_next_leader_until_it_is_resumed(start_beat, typed, status, leads):
    first = start_beat()
    leads()

    assert typed("schedule", "pause", "each") == "each is paused.\n"
    second = start_beat()
    first.kill()
    leads(second)

    (each,) = (entry for entry in status()["entries"] if entry["name"] == "each")
    assert (each["paused"], each["next"]) == (True, None)
    assert typed("schedule", "resume", "each") == "each is resumed.\n"
    (again,) = (entry for entry in status()["entries"] if entry["name"] == "each")
    assert again["paused"] is False
    assert again["next"] is not None
    # The slots of its pause are skipped.
    assert datetime.fromisoformat(again["last"]) > datetime.fromisoformat(each["last"])


def test_a_pause_without_a_leader_is_applied_by_the_next_one(start_beat, typed, status, leads):
    assert typed("schedule", "pause", "each") == "No scheduler is running: each is paused as soon as one does.\n"

    start_beat()

    leads()
    (each,) = (entry for entry in status()["entries"] if entry["name"] == "each")
    assert each["paused"] is True
    assert each["runs"] == 0


def test_an_entry_is_run_now_without_a_leader(typed, start_worker, noted, eventually):
    number = typed("schedule", "run", "monthly").strip()

    worker = start_worker()

    eventually(lambda: noted("written") == ["monthly"])
    eventually(lambda: number in worker.output)


def test_an_unknown_entry_is_refused_with_the_nearest_name(typed):
    for command in ("run", "pause", "resume", "next"):
        assert "Did you mean 'monthly'?" in typed("schedule", command, "montly", status=1)


@pytest.mark.parametrize("broker", ["sqlite"], indirect=True)
def test_the_next_times_of_a_second_tuesday_are_in_its_zone(typed):
    lines = typed("schedule", "next", "monthly").splitlines()

    slots = [
        datetime.fromisoformat(slot) for slot in json.loads(typed("schedule", "next", "monthly", "--json"))["monthly"]
    ]
    assert len(lines) == len(slots) == 10
    for line, slot in zip(lines, slots, strict=True):
        assert slot.weekday() == 1
        assert 8 <= slot.day <= 14
        assert line == f"Tue {slot:%Y-%m-%d} 01:00:00 {'CEST' if slot.utcoffset().seconds == 7200 else 'CET'}"


INVALID = """
beat_schedule |= {
    "typo": {"task": "probe.tasks.any-name.writ", "schedule": 1.0, "args": (1,)},
    "arguments": {"task": "probe.tasks.any-name.write", "schedule": 1.0},
    "day": {"task": "probe.tasks.any-name.write", "schedule": "0 0 30 2 *", "args": (1,)},
    "zone": {"task": "probe.tasks.any-name.write", "schedule": "0 0 * * *", "timezone": "Mars/Olympus", "args": (1,)},
    "key": {"task": "probe.tasks.any-name.write", "schedule": 1.0, "args": (1,), "time_zone": "UTC"},
    "late": {"task": "probe.tasks.any-name.write", "schedule": 1.0, "args": (1,), "missed": "some"},
}
"""


@pytest.mark.parametrize("broker", ["sqlite"], indirect=True)
@pytest.mark.parametrize("command", [["beat"], ["worker", "-B", "-c1"], ["schedule", "list"]])
def test_invalid_entries_stop_the_start_with_one_message(typed, scheduled, command):
    with (scheduled / "celeryconfig.py").open("a") as config:
        config.write(INVALID)

    output = typed(*command, status=1)

    message = output[output.index("Error: ") :]
    assert message.startswith("Error: The beat schedule cannot be followed, so nothing was started.\n")
    for name, cause in {
        "typo": "Did you mean 'probe.tasks.any-name.write'?",
        "arguments": "missing",
        "day": "30",
        "zone": "Mars/Olympus",
        "key": "unknown key 'time_zone'. Did you mean 'timezone'?",
        "late": "'all', 'latest', or a number of seconds",
    }.items():
        (line,) = (line for line in message.splitlines() if line.startswith(f"The entry '{name}'"))
        assert cause in line


def test_a_rolling_restart_of_three_workers_with_a_scheduler_inside_misses_and_repeats_no_slot(
    scheduled, start_worker, noted, eventually
):
    servers = [start_worker("-B", "-s", f"beat-{number}") for number in range(3)]
    eventually(lambda: len(noted("slots")) >= 2)

    for number, server in enumerate(servers):
        server.stop()
        start_worker("-B", "-s", f"beat-{number}")
    before = len(noted("slots"))

    # Two workers may note two slots in any order; a slot that is missed is never noted.
    eventually(lambda: len(noted("slots")) >= max(before + 2, 6) and is_sequence(seconds_of(noted("slots"))))
    assert max(Counter(noted("slots")).values()) == 1
    for server in servers:
        assert server.process.returncode == 0


def seconds_of(slots):
    return sorted(datetime.fromisoformat(slot).timestamp() for slot in slots)


def is_sequence(seconds):
    return seconds == [seconds[0] + number for number in range(len(seconds))]


@pytest.mark.parametrize("broker", ["sqlite"], indirect=True)
def test_a_suspended_leader_on_the_embedded_broker_continues_and_runs_the_missed_slots(
    start_beat, status, broker_url, schedules, leads, runs, eventually
):
    first = start_beat()
    leads()
    wait_for_line(start_beat(), "stands by")
    eventually(lambda: runs() >= 2)

    first.send_signal(signal.SIGSTOP)
    time.sleep(3)  # the slots that it misses
    assert schedules.status().leader is None  # no leader replies
    first.send_signal(signal.SIGCONT)

    assert str(status()["leader"]).endswith(f":{first.pid}")
    eventually(lambda: runs() >= 5)
    first.kill()
    slots = sorted(slots_in(broker_url))
    assert is_sequence(slots)
    assert len(slots) >= 5


def slots_in(broker_url):
    """Yield the slots, in seconds, of the tasks in the queue."""
    with Connection(broker_url) as connection:
        channel = connection.default_channel
        while (message := channel.basic_get("celery", no_ack=True)) is not None:
            yield datetime.fromisoformat(message.headers["x-schedule-slot"]).timestamp()


def test_each_leader_uses_its_own_configuration(scheduled, start_beat, status, leads):
    old = start_beat()
    leads()
    with (scheduled / "celeryconfig.py").open("a") as config:
        config.write(
            "del beat_schedule['nightly']\nbeat_schedule['new'] = {**beat_schedule['each'], 'schedule': 2.0}\n"
        )
    new = start_beat()
    compared = wait_for_line(old, "They differ in")
    assert [entry["name"] for entry in status()["entries"]] == ["each", "monthly", "nightly"]

    old.send_signal(signal.SIGTERM)

    leads(new)
    assert [entry["name"] for entry in status()["entries"]] == ["each", "monthly", "new"]
    assert "differs from that of" in compared
    assert "'nightly'" in wait_for_line(new, "does not have any more stop")


def wait_for_line(beat, text, seconds=60):
    """Return the line of a scheduler's log that has a text, once it is there."""
    end, log = time.monotonic() + seconds, ""
    while not (found := [line for line in log.splitlines(keepends=True) if text in line and line.endswith("\n")]):
        ready, _, _ = select.select([beat.stderr], [], [], max(0.0, end - time.monotonic()))
        read = os.read(beat.stderr.fileno(), 1 << 16).decode() if ready else ""
        assert read, log
        log += read
    return found[0]
