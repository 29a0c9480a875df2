"""``framework watch``: displays the progress of a task in a terminal."""

import json
import shutil
import signal
import sys
import time
from datetime import UTC, datetime
from math import isfinite
from queue import Empty, SimpleQueue
from typing import Protocol

import click

from framework.cli.broker_check import check_broker
from framework.cli.exit_codes import FAILED, KILLED_BY, OK
from framework.cli.text import format_time, one_line, truncated
from framework.errors import NoStateReported
from framework.progress import Progress, State, Step, Watcher

__all__ = ["line_of", "watch"]

#: Characters of the bar.
BAR_WIDTH = 24

#: Seconds between two lines of progress where the output is not a terminal.
LINE_INTERVAL_SECONDS = 1.0

#: Characters of a result that are displayed.
MAX_RESULT_WIDTH = 200


@click.command()
@click.argument("id")
@click.option(
    "--wait", type=click.FloatRange(min=0), default=10.0, show_default=True, help="Seconds to wait for the first state."
)
@click.option("--json", "as_json", is_flag=True, help="Print each state as a JSON object on a line, for scripts.")
@click.pass_context
def watch(ctx: click.Context, id: str, *, wait: float, as_json: bool) -> None:  # noqa: A002
    """Show the progress of the task ID until it ends.

    The exit status is 0 when it succeeds, 1 when it fails, is revoked or has no state, and 130 after Ctrl-C, which does
    not affect the task.
    """
    app = ctx.obj.app
    check_broker(app)
    display: Display = LogLines(as_json=as_json) if as_json or not sys.stdout.isatty() else RewrittenLine()
    with Watcher(app) as watcher:
        try:
            state = _display_until_final(watcher, id, wait, display)
        except KeyboardInterrupt:
            display.interrupt()
            ctx.exit(KILLED_BY + signal.SIGINT)
    ctx.exit(OK if state.status == "success" else FAILED)


def _display_until_final(watcher: Watcher, task_id: str, wait: float, display: "Display") -> State:
    """Display the states of a task until it ends; return the final one."""
    states: SimpleQueue[State] = SimpleQueue()
    watcher.subscribe(task_id, states.put)
    try:
        state = states.get(timeout=wait)
    except Empty:
        raise NoStateReported.of(task_id, wait) from None
    display.show(state)
    while not state.final:
        state = states.get()
        display.show(state)
    return state


class Display(Protocol):
    """An output for the states of a task."""

    def show(self, state: State) -> None:
        """Display the next state."""

    def interrupt(self) -> None:
        """End the output after Ctrl-C."""


class RewrittenLine:
    """A line of a terminal that is rewritten for each state; a line of another kind is kept above."""

    def __init__(self) -> None:
        self._previous: State | None = None

    def show(self, state: State) -> None:
        """Display a state in place of the previous one where both are progress."""
        in_place = _runs(state) or (state.final and state.progress)
        if self._previous is not None and not (_runs(self._previous) and in_place):
            click.echo()
        if state.final and state.progress:
            self._write(_bar_of(state.progress))
            click.echo()
        self._write(line_of(state))
        if state.final:
            click.echo()
        self._previous = state

    def interrupt(self) -> None:
        """Leave the line as it is."""
        click.echo()

    def _write(self, text: str) -> None:
        width = shutil.get_terminal_size((80, 24)).columns - 1
        # With color: without it, as NO_COLOR demands, click would remove what erases the line too.
        click.echo(f"\r\x1b[K{truncated(text, width)}", nl=False, color=True)


class LogLines:
    """A line per state, for files, pipes and scripts."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._next_progress = 0.0

    def show(self, state: State) -> None:
        """Print a state; progress once a second at most, unless as JSON."""
        if self._as_json:
            click.echo(json.dumps(state.as_dict(), ensure_ascii=False))
        elif state.status != "progress" or time.monotonic() >= self._next_progress:
            self._next_progress = time.monotonic() + LINE_INTERVAL_SECONDS
            click.echo(line_of(state))

    def interrupt(self) -> None:
        """Print nothing."""


def _runs(state: State) -> bool:
    return state.status in ("started", "progress")


def line_of(state: State) -> str:
    """Return a state as a line of plain text."""
    match state.status:
        case "queued":
            return f"queued{_time(' until ', state.retry_at)}"
        case "retry":
            return f"will be retried{_time(' at ', state.retry_at)}{_detail(state.error)}"
        case "success":
            return f"done{_detail(_result(state.result))}"
        case "failure":
            return f"failed{_detail(state.error)}"
        case "revoked":
            return f"revoked{_detail(state.error)}"
    return _bar_of(state.progress) if state.progress else "started"


def _bar_of(progress: Progress) -> str:
    """Return the outermost step with its bar, then the steps inside it, then the task's message."""
    outer, *inner = progress.steps
    parts = [one_line(outer.name)] if outer.name else []
    if (fraction := progress.fraction) is not None:
        full = int(fraction * BAR_WIDTH)
        parts.append(f"{fraction:4.0%} [{'#' * full}{'-' * (BAR_WIDTH - full)}]")
    parts.append(_count(outer))
    if outer.rate:
        parts.append(f"{_number(outer.rate)}/s")
    if outer.remaining and isfinite(outer.remaining):
        parts.append(f"{_duration(outer.remaining)} left")
    parts += [f"> {' '.join(filter(None, [one_line(step.name), _count(step)]))}" for step in inner]
    return "  ".join([*parts, one_line(progress.message)]).rstrip()


def _count(step: Step) -> str:
    return _number(step.done) if step.total is None else f"{_number(step.done)}/{_number(step.total)}"


def _number(number: float) -> str:
    return f"{number:.0f}" if number % 1 == 0 or number >= 1000 else f"{number:.3g}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _time(preposition: str, at: float | None) -> str:
    return f"{preposition}{format_time(datetime.fromtimestamp(at, UTC))}" if at else ""


def _detail(text: str | None) -> str:
    return f": {one_line(text)}" if text else ""


def _result(result: object) -> str:
    return "" if result is None else truncated(json.dumps(result, ensure_ascii=False), MAX_RESULT_WIDTH)
