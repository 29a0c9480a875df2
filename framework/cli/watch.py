"""``framework watch``: how far a task is, in a terminal."""

import json
import shutil
import sys
import time
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Protocol

import click

from framework.cli.broker_check import check_broker
from framework.cli.exit_codes import FAILED, OK
from framework.cli.failed import CONTROL
from framework.errors import NoStateReported
from framework.progress import Progress, State, Step, Watcher

__all__ = ["line_of", "watch"]

#: Characters of the bar.
BAR = 24

#: Seconds between two lines of progress where the output is no terminal.
PAUSE = 1.0

#: Characters of a result that are shown.
LONGEST_RESULT = 200


@click.command()
@click.argument("id")
@click.option(
    "--wait", type=click.FloatRange(min=0), default=10.0, show_default=True, help="Seconds to wait for its first word."
)
@click.option("--json", "as_json", is_flag=True, help="Print each state as a JSON object on a line, for scripts.")
@click.pass_context
def watch(ctx: click.Context, id: str, *, wait: float, as_json: bool) -> None:  # noqa: A002
    """Show how far the task ID is, until it ends.

    The exit status is 0 when it succeeds, 1 when it fails or is revoked, or when nothing is known of it.
    """
    app = ctx.obj.app
    check_broker(app)
    screen: Screen = Lines(as_json=as_json) if as_json or not sys.stdout.isatty() else Line()
    states: SimpleQueue[State] = SimpleQueue()
    with Watcher(app) as watcher:
        watcher.subscribe(id, states.put)
        try:
            state = states.get(timeout=wait)
        except Empty:
            raise NoStateReported.of(id, wait) from None
        screen.show(state)
        while not state.final:
            state = states.get()
            screen.show(state)
    ctx.exit(OK if state.status == "success" else FAILED)


class Screen(Protocol):
    """Where states are shown."""

    def show(self, state: State) -> None:
        """Show the next one."""


class Line:
    """One line of a terminal, written over; what a task did before stays above."""

    def __init__(self) -> None:
        self._before: State | None = None

    def show(self, state: State) -> None:
        """Show a state, in place of the one before where both are of one kind."""
        in_place = _runs(state) or (state.final and state.progress)
        if self._before is not None and not (_runs(self._before) and in_place):
            click.echo()
        if state.final and state.progress:
            self._write(_bar_of(state.progress))
            click.echo()
        self._write(line_of(state))
        if state.final:
            click.echo()
        self._before = state

    def _write(self, text: str) -> None:
        width = shutil.get_terminal_size((80, 24)).columns - 1
        click.echo(f"\r\x1b[K{_cut(text, width)}", nl=False)


class Lines:
    """One line after the other, for files, pipes and scripts."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._next_progress = 0.0

    def show(self, state: State) -> None:
        """Show a state; of the progress, one a second is enough for who reads lines."""
        if self._as_json:
            click.echo(json.dumps(state.as_dict(), ensure_ascii=False))
        elif state.status != "progress" or time.monotonic() >= self._next_progress:
            self._next_progress = time.monotonic() + PAUSE
            click.echo(line_of(state))


def _runs(state: State) -> bool:
    return state.status in ("started", "progress")


def line_of(state: State) -> str:
    """A state in a line of plain text."""
    match state.status:
        case "queued":
            return f"queued{_until(state.retry_at)}"
        case "retry":
            return f"to be tried again{_until(state.retry_at)}{_because(state.error)}"
        case "success":
            return f"done{_because(_shown(state.result))}"
        case "failure":
            return f"failed{_because(state.error)}"
        case "revoked":
            return f"revoked{_because(state.error)}"
    return _bar_of(state.progress) if state.progress else "started"


def _bar_of(progress: Progress) -> str:
    """The outermost step with its bar, then the steps inside it, then what the task says."""
    outer, *inner = progress.steps
    parts = [_plain(outer.name)] if outer.name else []
    if (fraction := progress.fraction) is not None:
        full = int(fraction * BAR)
        parts.append(f"{fraction:4.0%} [{'#' * full}{'-' * (BAR - full)}]")
    parts.append(_count(outer))
    if outer.rate:
        parts.append(f"{_number(outer.rate)}/s")
    if outer.remaining:
        parts.append(f"{_duration(outer.remaining)} left")
    parts += [f"> {' '.join(filter(None, [_plain(step.name), _count(step)]))}" for step in inner]
    return "  ".join([*parts, _plain(progress.message)]).rstrip()


def _count(step: Step) -> str:
    return _number(step.done) if step.total is None else f"{_number(step.done)}/{_number(step.total)}"


def _number(number: float) -> str:
    return f"{number:.0f}" if number == int(number) or number >= 1000 else f"{number:.3g}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _until(at: float | None) -> str:
    return f" until {datetime.fromtimestamp(at, UTC).astimezone():%Y-%m-%d %H:%M:%S}" if at else ""


def _because(text: str | None) -> str:
    return f": {_plain(text)}" if text else ""


def _shown(result: object) -> str:
    return "" if result is None else _cut(json.dumps(result, ensure_ascii=False), LONGEST_RESULT)


def _plain(text: str) -> str:
    """A text on one line, without what a terminal would obey: it may come from anybody."""
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", " ".join(text.split()))


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}…"
