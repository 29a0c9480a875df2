"""The entries of the configuration: read and checked."""

from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from celery.beat import BeatLazyFunc
from celery.schedules import crontab

from framework.celery.app import App
from framework.errors import BadEntries, UnknownEntry
from framework.schedule import cron
from framework.schedule.entries import MOST_COUNTED, entries_of, entry_named


@pytest.fixture
def app(tmp_path):
    made = App("entries", set_as_current=False, broker=f"sqlite:///{tmp_path}/broker.db", backend="rpc://")
    made.conf.timezone = "Europe/Madrid"

    @made.task(name="probe.work", shared=False)
    def work(value, name="work"): ...

    yield made
    made.close()


def entry(app, **fields):
    app.conf.beat_schedule = {"each": {"task": "probe.work", "schedule": 60, "args": (1,), **fields}}
    return entries_of(app)["each"]


def refused(app, **fields):
    with pytest.raises(BadEntries) as error:
        entry(app, **fields)
    first, *lines = error.value.message.splitlines()
    assert first == "The beat schedule cannot be followed, so nothing was started."
    (line,) = lines
    assert "'each'" in line
    return line


def test_an_entry_has_the_zone_of_the_application_or_its_own(app):
    assert entry(app).zone == ZoneInfo("Europe/Madrid")
    assert entry(app, schedule="0 1 * * *", timezone="Asia/Tokyo").zone == ZoneInfo("Asia/Tokyo")
    assert entry(app, schedule=cron("0 1 * * *", timezone="Asia/Tokyo")).zone == ZoneInfo("Asia/Tokyo")


def test_the_arguments_of_add_periodic_task_become_an_entry(app):
    app.conf.beat_schedule = {}
    app.add_periodic_task(30, app.tasks["probe.work"].s(1), name="each", jitter=5, missed="all", queue="mail")

    each = entries_of(app)["each"]

    assert (each.task, each.args, each.jitter, each.missed) == ("probe.work", (1,), 5.0, "all")
    assert each.options["queue"] == "mail"
    assert not each.options.keys() & {"jitter", "missed"}


def test_lazy_arguments_are_evaluated_at_each_call(app):
    numbers = iter(range(3))
    each = entry(app, args=(BeatLazyFunc(lambda: next(numbers)),), kwargs={"name": BeatLazyFunc(str)})

    assert [each.call() for _ in range(2)] == [((0,), {"name": ""}), ((1,), {"name": ""})]


def test_celery_s_own_entry_is_there_where_a_task_deletes_expired_results(app, tmp_path):
    app.conf.beat_schedule = {}
    assert entries_of(app) == {}

    other = App("other", set_as_current=False, broker=f"sqlite:///{tmp_path}/broker.db", backend=f"file://{tmp_path}")
    other.conf.beat_schedule = {}

    assert [name for name in entries_of(other)] == ["celery.backend_cleanup"]  # noqa: C416
    other.close()


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"task": "probe.wor"}, "Did you mean 'probe.work'?"),
        ({"args": ()}, "missing 1 required positional argument: 'value'"),
        ({"kwargs": {"nam": 1}}, "got an unexpected keyword argument 'nam'"),
        ({"schedule": "0 0 30 2 *"}, "The schedule '0 0 30 2 *' cannot be followed"),
        ({"schedule": -1}, "The schedule -1 cannot be followed"),
        ({"schedule": "@daily", "timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"schedul": 5}, "unknown key 'schedul'. Did you mean 'schedule'?"),
        ({"schedule": None}, "has no 'schedule'"),
        ({"task": ""}, "has no 'task'"),
        ({"jitter": -1}, "jitter=-1. It is a number of seconds from 0 on"),
        ({"jitter": "a"}, "jitter='a'. It is a number of seconds from 0 on"),
        ({"missed": "some"}, "missed='some'. It is 'all', 'latest', or a number of seconds"),
        ({"missed": 0}, "missed=0. It is a number of seconds from 1 on"),
        ({"missed": True}, "missed=True. It is a number of seconds"),
    ],
)
def test_an_invalid_entry_is_refused_by_name(app, fields, cause):
    assert cause in refused(app, **fields)


def test_one_message_has_every_fault(app):
    app.conf.beat_schedule = {
        "a": {"task": "no.such"},
        "b": 7,
        "good": {"task": "probe.work", "schedule": 1, "args": (1,)},
    }

    with pytest.raises(BadEntries) as error:
        entries_of(app)

    assert len(error.value.message.splitlines()) == 3
    assert "'good'" not in error.value.message


def test_missed_and_jitter_may_be_timedeltas(app):
    each = entry(app, missed=timedelta(hours=1), jitter=timedelta(seconds=5))

    assert (each.missed, each.jitter) == (3600.0, 5.0)


def test_fingerprints_are_stable_and_differ_where_the_entries_do(app):
    variants = [
        {},
        {"args": (2,)},
        {"kwargs": {"name": "x"}},
        {"options": {"queue": "mail"}},
        {"schedule": 61},
        {"missed": "all"},
        {"jitter": 1},
        {"schedule": crontab(minute=1)},
        {"schedule": "1 * * * *"},
        {"schedule": "1 * * * *", "timezone": "Asia/Tokyo"},
    ]
    found = [entry(app, **fields).fingerprint for fields in variants]

    assert len(set(found)) == len(variants)
    assert found == [entry(app, **fields).fingerprint for fields in variants]
    lazy = [entry(app, args=(BeatLazyFunc(lambda: 1),)).fingerprint for _ in range(2)]
    assert lazy[0] == lazy[1]


def test_an_unknown_entry_is_refused_with_the_nearest_name(app):
    with pytest.raises(UnknownEntry, match="Did you mean 'each'"):
        entry_named("eahc", {"each": entry(app)})


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"headers": {"t": UUID(int=1)}}, "'t': AMQP cannot encode"),
        ({"headers": {"nested": [{"t": object()}]}}, "'nested': AMQP cannot encode"),
        ({"headers": {1: 2}}, "1: AMQP cannot encode"),
        ({"headers": {"CC": "no list"}}, "CC is 'no list', and must be a list of routing keys"),
        ({"headers": "text"}, "'text' is no mapping"),
        ({"priority": 300}, "because of its priority: AMQP cannot encode 300"),
        ({"correlation_id": 7}, "because of its correlation_id: AMQP cannot encode 7"),
        ({"serializer": "jsn"}, "because of its arguments or its serializer 'jsn'"),
        ({"compression": "zipp"}, "because of its compression: 'zipp' is unknown"),
        ({"expires": object()}, "because of its expires"),
    ],
)
def test_options_that_cannot_be_encoded_are_refused_when_the_schedule_is_read(app, options, cause):
    """A7: such an entry stopped the whole schedule, on all servers, once it was due."""
    assert cause in refused(app, options=options)


def test_arguments_that_cannot_be_encoded_are_refused_when_the_schedule_is_read(app):
    """A7"""
    assert "EncodeError" in refused(app, args=(object(),))
    assert entry(app, args=(BeatLazyFunc(object),)).args


def test_options_that_amqp_has_are_accepted(app):
    headers = {
        "text": "a",
        "n": 1,
        "f": 0.5,
        "none": None,
        "yes": True,
        "list": [1],
        "at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    options = {"headers": headers, "priority": 9, "expires": 60.0, "compression": "gzip", "delivery_mode": "transient"}

    assert entry(app, options=options).options == options


def test_slots_between_two_times_are_counted(app):
    noon = datetime(2026, 6, 1, 12, tzinfo=UTC)
    minutes, daily = entry(app), entry(app, schedule="0 1 * * *", timezone="UTC")

    assert [minutes.count_between(noon, noon + timedelta(seconds=after)) for after in (60, 61, 120, 600)] == [
        0,
        1,
        1,
        9,
    ]
    assert minutes.count_between(noon + timedelta(seconds=1), noon + timedelta(seconds=60)) == 0
    assert daily.count_between(noon, noon + timedelta(days=3, hours=-11)) == 2
    assert entry(app, schedule="* * * * *").count_between(noon, noon + timedelta(days=30)) == MOST_COUNTED
