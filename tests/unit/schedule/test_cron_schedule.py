"""Our cron in a plain Celery application with Celery's own beat."""

from datetime import UTC, datetime, timedelta

import pytest
from celery import Celery
from celery.beat import PersistentScheduler, Scheduler

from framework.schedule import cron

BEFORE = datetime(2026, 10, 25, 0, 14, tzinfo=UTC)


class Clock:
    """A clock that the test sets."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock(BEFORE)


@pytest.fixture
def app(tmp_path):
    app = Celery("vanilla", broker="filesystem://", set_as_current=False)
    folders = dict.fromkeys(["data_folder_in", "data_folder_out", "control_folder"], str(tmp_path))
    app.conf.broker_transport_options = folders
    return app


def test_an_entry_is_due_once_its_time_has_come(app, clock):
    schedule = cron("15 * * * *", timezone="Europe/Madrid", nowfun=clock, app=app)

    assert schedule.is_due(BEFORE) == (False, 60)
    clock.now = BEFORE + timedelta(minutes=1)
    assert schedule.is_due(BEFORE) == (True, 3600)
    assert schedule.is_due(clock.now) == (False, 3600)


def test_a_late_entry_is_due_and_returns_when_it_is_due_again(app, clock):
    schedule = cron("15 * * * *", nowfun=clock, app=app)
    clock.now = BEFORE + timedelta(minutes=31)

    assert schedule.is_due(BEFORE) == (True, 30 * 60)
    assert schedule.remaining_estimate(BEFORE) == timedelta(minutes=-30)


@pytest.mark.parametrize(("deadline", "due"), [(1799, False), (1800, True), (None, True)])
def test_an_entry_later_than_celery_allows_is_not_run(app, clock, deadline, due):
    app.conf.beat_cron_starting_deadline = deadline
    schedule = cron("15 * * * *", nowfun=clock, app=app)
    clock.now = BEFORE + timedelta(minutes=31)

    assert schedule.is_due(BEFORE) == (due, 30 * 60)


def test_an_entry_without_a_zone_has_the_application_s(app, clock):
    app.conf.timezone = "Asia/Tokyo"
    schedule = cron("0 10 * * *", nowfun=clock, app=app)

    assert schedule.remaining_estimate(BEFORE) == timedelta(minutes=46)


def test_a_time_without_a_zone_is_utc_as_in_celery(app, clock):
    schedule = cron("15 * * * *", timezone="Asia/Tokyo", nowfun=clock, app=app)

    assert schedule.remaining_estimate(BEFORE.replace(tzinfo=None)) == timedelta(minutes=1)


def test_beat_sends_the_due_entries_and_no_others(app, clock):
    # given an entry in the configuration of a plain application, last run just before it is due
    app.conf.beat_schedule = {
        "hourly": {"task": "tick", "schedule": cron("15 * * * *", timezone="Europe/Madrid", nowfun=clock)}
    }
    beat = Scheduler(app)
    beat.schedule["hourly"].last_run_at = BEFORE

    # when it ticks before, at, and after the two due times of an autumn night, 02:15 twice
    for minutes in (0, 1, 2, 30, 61, 62):
        clock.now = BEFORE + timedelta(minutes=minutes)
        beat.tick()

    # then
    with app.connection_for_read() as connection:
        assert connection.default_channel.queue_declare("celery", passive=True).message_count == 2


def test_add_periodic_task_accepts_it(app):
    @app.task(name="tick")
    def tick():
        return None

    app.add_periodic_task(cron("@daily"), tick.s(), name="daily")

    assert Scheduler(app).schedule["daily"].schedule == cron("0 0 * * *")


def test_beat_stores_it_in_its_file(app, tmp_path):
    app.conf.beat_schedule = {"daily": {"task": "tick", "schedule": cron("@daily", timezone="Europe/Madrid")}}
    file = str(tmp_path / "beat")
    PersistentScheduler(app, schedule_filename=file).close()

    again = PersistentScheduler(app, schedule_filename=file)

    assert again.schedule["daily"].schedule == cron("@daily", timezone="Europe/Madrid")
    again.close()
