"""``framework schedule``: lists entries and their next times; runs, pauses, resumes and resets them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime, tzinfo
from functools import wraps
from typing import Any

import click

from framework.cli.broker_check import broker_errors_in_one_line, check_broker
from framework.cli.text import format_time, truncated
from framework.schedule.control import EntryStatus, Schedules, ScheduleStatus

__all__ = ["schedule"]


@click.group()
def schedule() -> None:
    """List entries and their next times; run, pause, resume and reset entries."""


def _command(run: Callable[..., None]) -> Callable[..., None]:
    """Pass the application's schedule to ``run``."""

    @click.pass_context
    @wraps(run)
    def call(ctx: click.Context, /, *args: Any, **kwargs: Any) -> None:
        ctx.invoke(run, Schedules(ctx.obj.app), *args, **kwargs)

    return call


def _command_on_broker(run: Callable[..., None]) -> Callable[..., None]:
    """Pass the application's schedule to ``run``, and report errors of the broker in one line."""

    @click.pass_context
    @wraps(run)
    def call(ctx: click.Context, /, *args: Any, **kwargs: Any) -> None:
        app = ctx.obj.app
        schedules = Schedules(app)
        with broker_errors_in_one_line(app):
            check_broker(app)
            ctx.invoke(run, schedules, *args, **kwargs)

    return call


_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
_name = click.argument("name")


@schedule.command("list")
@_json
@click.option("--prometheus", is_flag=True, help="Print metrics in Prometheus' text format.")
@_command_on_broker
def list_(schedules: Schedules, *, as_json: bool, prometheus: bool) -> None:
    """List the entries and the leader; times are in the setting ``timezone``."""
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
    """Print the next times at which an entry, or each entry, is due, in its zone.

    They are computed from the configuration: no broker is needed.
    """
    times = {each: schedules.next(each, count) for each in ([name] if name else sorted(schedules.entries))}
    if as_json:
        click.echo(json.dumps(times, indent=2, ensure_ascii=False, default=_iso))
        return
    for each, due in times.items():
        if not name:
            click.secho(each, bold=True)
        click.echo("\n".join(f"{'' if name else '    '}{time:%a %Y-%m-%d %H:%M:%S %Z}" for time in due) or "never")


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
    """Pause the entry NAME on all servers until it is resumed."""
    click.echo(_result(f"{name} is paused", received=schedules.pause(name)))


@schedule.command()
@_name
@_command_on_broker
def resume(schedules: Schedules, *, name: str) -> None:
    """Resume the paused entry NAME at its next time; missed times are skipped."""
    click.echo(_result(f"{name} is resumed", received=schedules.resume(name)))


@schedule.command()
@_name
@_command_on_broker
def reset(schedules: Schedules, *, name: str) -> None:
    """Forget the last time of the entry NAME, so that it starts with its next one from now.

    This is for an entry whose last time lies in the future, because a clock was ahead.
    """
    click.echo(_result(f"{name} starts with its next time", received=schedules.reset(name)))


def _result(what: str, *, received: bool) -> str:
    return f"{what}." if received else f"No scheduler is running: {what} as soon as one does."


def _lines(status: ScheduleStatus, zone: tzinfo) -> Iterator[str]:
    if status.leader is None:
        yield "No scheduler is running; this is what the configuration says. (framework beat starts one)"
    else:
        since, tick = _time(status.since, zone), _time(status.tick, zone)
        yield f"{status.leader} leads since {since}; it looked at its clock at {tick}."
    for entry in status.entries:
        yield click.style(truncated(f"{entry.name}  {entry.task}"), bold=True)
        yield truncated(f"    {entry.when}")
        yield truncated(f"    {_state(entry, zone, led=status.leader is not None)}")
    if not status.entries:
        yield "There are no entries: beat_schedule in celeryconfig.py is empty."


def _state(entry: EntryStatus, zone: tzinfo, *, led: bool) -> str:
    parts = ["paused" if entry.paused else f"next {_time(entry.next, zone)}" if entry.next else "never again"]
    if led and entry.runs:
        parts.append(f"last {_time(entry.last, zone)}")
    if led:
        parts.append(f"runs {entry.runs}")
        parts += [f"{name} {count}" for name in ("skipped", "refused") if (count := getattr(entry, name))]
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
        skipped = {of: float(entry.skipped) for of, entry in by.items()}
        yield from _metric("entry_skipped_total", "counter", "How many slots were passed over.", skipped)
        refused = {of: float(entry.refused) for of, entry in by.items()}
        yield from _metric("entry_refused_total", "counter", "How often a task was refused.", refused)
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
    return format_time(at, zone) if at else "never"


def _iso(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
