"""``framework schedule``: what will run when, who leads, and a hand on it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, tzinfo
from functools import wraps
from typing import Any

import click
from amqp.exceptions import AMQPError
from celery import Celery
from kombu.exceptions import OperationalError

from framework.cli.broker_check import broker_error, check_broker
from framework.errors import FrameworkError
from framework.schedule.control import EntryStatus, Schedules, ScheduleStatus

__all__ = ["schedule"]

WIDTH = 80


@click.group()
def schedule() -> None:
    """See what will run and when; run, pause and resume entries."""


def _command(run: Callable[..., None]) -> Callable[..., None]:
    """Give ``run`` the application's schedule."""

    @click.pass_context
    @wraps(run)
    def call(ctx: click.Context, /, *args: Any, **kwargs: Any) -> None:
        ctx.invoke(run, Schedules(ctx.obj.app), *args, **kwargs)

    return call


def _command_on_broker(run: Callable[..., None]) -> Callable[..., None]:
    """Give ``run`` the application's schedule, and end in one line where the broker is the trouble."""

    @click.pass_context
    @wraps(run)
    def call(ctx: click.Context, /, *args: Any, **kwargs: Any) -> None:
        app = ctx.obj.app
        schedules = Schedules(app)
        with _broker_trouble_in_one_line(app):
            check_broker(app)
            ctx.invoke(run, schedules, *args, **kwargs)

    return call


@contextmanager
def _broker_trouble_in_one_line(app: Celery) -> Iterator[None]:
    try:
        yield
    except (FrameworkError, BrokenPipeError):
        raise  # of these, the first say enough, and whoever read our output has seen enough
    except (OperationalError, AMQPError, ConnectionError, TimeoutError) as exc:
        raise broker_error(app, exc) from None


_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
_name = click.argument("name")


@schedule.command("list")
@_json
@click.option("--prometheus", is_flag=True, help="Print metrics in Prometheus' text format.")
@_command_on_broker
def list_(schedules: Schedules, *, as_json: bool, prometheus: bool) -> None:
    """List the entries, and say who leads; times are in the setting ``timezone``."""
    status = schedules.status()
    if as_json:
        click.echo(json.dumps(asdict(status), indent=2, ensure_ascii=False, default=_iso))
    elif prometheus:
        click.echo("\n".join(_metrics(status)))
    else:
        click.echo("\n".join(_lines(status, schedules.timezone)))


@schedule.command("next")
@click.argument("name", required=False)
@click.option("-n", "count", type=click.IntRange(min=1), default=10, show_default=True, help="How many times.")
@_json
@_command
def next_(schedules: Schedules, *, name: str | None, count: int, as_json: bool) -> None:
    """Print the next times at which an entry, or each of them, is due, in its zone.

    They come from the configuration alone: no broker is needed.
    """
    times = {each: schedules.next(each, count) for each in ([name] if name else sorted(schedules.entries))}
    if as_json:
        click.echo(json.dumps(times, indent=2, ensure_ascii=False, default=_iso))
        return
    for each, due in times.items():
        if not name:
            click.secho(each, bold=True)
        click.echo("\n".join(f"{'' if name else '    '}{moment:%a %Y-%m-%d %H:%M:%S %Z}" for moment in due) or "never")


@schedule.command()
@_name
@_command_on_broker
def run(schedules: Schedules, *, name: str) -> None:
    """Send the task of the entry NAME now, and print its id."""
    click.echo(schedules.run(name))


@schedule.command()
@_name
@_command_on_broker
def pause(schedules: Schedules, *, name: str) -> None:
    """Have the entry NAME run no more, until it is resumed, whichever server leads."""
    click.echo(_answer(f"{name} is paused", heard=schedules.pause(name)))


@schedule.command()
@_name
@_command_on_broker
def resume(schedules: Schedules, *, name: str) -> None:
    """Have the paused entry NAME go on with its next time; what it missed is left out."""
    click.echo(_answer(f"{name} goes on", heard=schedules.resume(name)))


def _answer(what: str, *, heard: bool) -> str:
    return f"{what}." if heard else f"No scheduler is running: {what} as soon as one does."


def _lines(status: ScheduleStatus, zone: tzinfo) -> Iterator[str]:
    if status.leader is None:
        yield "No scheduler is running; this is what the configuration says. (framework beat starts one)"
    else:
        since, tick = _time(status.since, zone), _time(status.tick, zone)
        yield f"{status.leader} leads since {since}; it looked at its clock at {tick}."
    for entry in status.entries:
        yield click.style(_cut(f"{entry.name}  {entry.task}"), bold=True)
        yield _cut(f"    {entry.when}")
        yield _cut(f"    {_state(entry, zone, led=status.leader is not None)}")
    if not status.entries:
        yield "There are no entries: beat_schedule in celeryconfig.py is empty."


def _state(entry: EntryStatus, zone: tzinfo, *, led: bool) -> str:
    parts = ["paused" if entry.paused else f"next {_time(entry.next, zone)}" if entry.next else "never again"]
    if led and entry.runs:
        parts.append(f"last {_time(entry.last, zone)}")
    if led:
        parts.append(f"runs {entry.runs}")
    if not entry.same_here:
        parts.append("another one here")
    return ", ".join(parts)


def _metrics(status: ScheduleStatus) -> Iterator[str]:
    yield from _metric("leader", "gauge", "1 while a scheduler leads.", {"": float(status.leader is not None)})
    if status.since and status.tick:
        of = _labels(node=status.leader)
        since, tick = status.since.timestamp(), status.tick.timestamp()
        yield from _metric("leader_since_timestamp_seconds", "gauge", "When it began to lead.", {of: since})
        yield from _metric("tick_timestamp_seconds", "gauge", "When it last looked at its clock.", {of: tick})
    by = {_labels(entry=entry.name, task=entry.task): entry for entry in status.entries}
    next_at = {of: entry.next.timestamp() for of, entry in by.items() if entry.next}
    yield from _metric("entry_next_timestamp_seconds", "gauge", "When an entry is due next.", next_at)
    if status.leader is not None:
        last = {of: entry.last.timestamp() for of, entry in by.items() if entry.last}
        yield from _metric("entry_last_timestamp_seconds", "gauge", "An entry's last slot.", last)
        runs = {of: float(entry.runs) for of, entry in by.items()}
        yield from _metric("entry_runs_total", "counter", "How many tasks were sent for an entry.", runs)
        paused = {of: float(entry.paused) for of, entry in by.items()}
        yield from _metric("entry_paused", "gauge", "1 while an entry is paused.", paused)


def _metric(name: str, kind: str, words: str, values: dict[str, float]) -> Iterator[str]:
    yield f"# HELP framework_schedule_{name} {words}"
    yield f"# TYPE framework_schedule_{name} {kind}"
    for labels, value in values.items():
        yield f"framework_schedule_{name}{labels} {value:.15g}"


def _labels(**values: Any) -> str:
    return (
        "{" + ",".join(f"{name}={json.dumps(str(value), ensure_ascii=False)}" for name, value in values.items()) + "}"
    )


def _time(at: datetime | None, zone: tzinfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}" if at else "never"


def _iso(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"
