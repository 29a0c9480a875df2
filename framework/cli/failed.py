"""``framework failed``: tasks that failed, seen and sent again."""

import json
import re
import shutil
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from functools import wraps
from typing import Any, Literal

import click
from amqp.exceptions import AMQPError
from celery import Celery
from kombu.exceptions import OperationalError

from framework.cli.broker_check import broker_error, check_broker
from framework.errors import FrameworkError
from framework.failures import ALL, FailedTask, Failures

__all__ = ["failed"]

WIDTH = 80

#: What a terminal would obey instead of showing: a message may come from anybody.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@click.group()
def failed() -> None:
    """See the tasks that failed; send them again, or drop them.

    Safe while workers work, and safe to interrupt at any moment.
    """


def _command(run: Callable[..., None]) -> Callable[..., None]:
    """Give ``run`` the application's failed tasks, and end in one line where the broker is the trouble."""

    @click.pass_context
    @wraps(run)
    def call(ctx: click.Context, /, *args: Any, **kwargs: Any) -> None:
        app = ctx.obj.app
        with _broker_trouble_in_one_line(app):
            check_broker(app)
            with suppress(Exception):  # a broken module keeps the names of its tasks' arguments to itself, no more
                app.loader.import_default_modules()
            ctx.invoke(run, Failures(app), *args, **kwargs)

    return call


@contextmanager
def _broker_trouble_in_one_line(app: Celery) -> Iterator[None]:
    try:
        yield
    except FrameworkError:
        raise
    except BrokenPipeError:
        raise  # whoever read our output has seen enough
    except (OperationalError, AMQPError, ConnectionError, TimeoutError) as exc:
        raise broker_error(app, exc) from None


_reason = click.option("--reason", metavar="R", help="Only those with this reason, such as timeout.")
_task = click.option("--task", metavar="NAME", help="Only those of this task.")
_ids = click.argument("ids", nargs=-1, metavar="[ID]...")


@failed.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many to show.")
@click.option("--offset", type=click.IntRange(min=0), default=0, help="How many to skip, from the oldest.")
@_reason
@_task
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list, for scripts.")
@_command
def list_(failures: Failures, *, limit: int, offset: int, reason: str | None, task: str | None, as_json: bool) -> None:
    """List failed tasks, the oldest first."""
    found = failures.page(limit + 1, offset, reason, task)
    shown = found[:limit]
    if as_json:
        click.echo(json.dumps([asdict(each) for each in shown], indent=2, ensure_ascii=False, default=str))
        return
    for each in shown:
        click.echo(_summary(each))
    kind = " of this kind" if reason or task else ""
    if not shown:
        click.echo(f"There are no{' more' if offset else ''} failed tasks{kind}.")
    elif len(found) > limit:
        click.echo(f"{_tasks(limit)}{kind}; {failures.count()} in all. The next ones: --offset {offset + limit}")
    else:
        click.echo(f"{_tasks(len(shown))}{kind}.")


@failed.command()
@click.argument("id")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for scripts.")
@_command
def show(failures: Failures, *, id: str, as_json: bool) -> None:  # noqa: A002
    """Show all that is known of one failed task."""
    found = failures.get(id)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2, ensure_ascii=False, default=str))
    else:
        click.echo(_details(found))


@failed.command()
@_ids
@click.option("--all", "everything", is_flag=True, help="All that are there now.")
@_reason
@_task
@_command
def retry(failures: Failures, *, ids: tuple[str, ...], everything: bool, reason: str | None, task: str | None) -> None:
    """Send failed tasks to their queues again, with the same ids."""
    sent = failures.retry(_which(ids, everything=everything), reason=reason, task=task)
    click.echo(f"{_tasks(sent)} sent again.")


@failed.command()
@_ids
@click.option("--all", "everything", is_flag=True, help="All that are there now.")
@_reason
@_task
@click.option("--yes", is_flag=True, help="Do not ask.")
@_command
def drop(
    failures: Failures, *, ids: tuple[str, ...], everything: bool, reason: str | None, task: str | None, yes: bool
) -> None:
    """Delete failed tasks for good."""
    which = _which(ids, everything=everything)
    if everything and not yes:
        selection = "".join([f" of {task}" if task else "", f" with reason {reason}" if reason else ""])
        click.confirm(
            f"Delete all failed tasks{selection} for good? (`framework failed export` keeps a copy)", abort=True
        )
    click.echo(f"{_tasks(failures.drop(which, reason=reason, task=task))} dropped.")


@failed.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--redacted", is_flag=True, help="Hide what task_redacted_arguments names.")
@_command
def export(failures: Failures, *, file: str, redacted: bool) -> None:
    """Write every failed task to FILE, one JSON object a line; - is the standard output.

    The arguments are written as they are, secrets too, unless --redacted is given.
    """
    try:
        count = failures.export(file, redacted=redacted)
    except BrokenPipeError:
        raise
    except OSError as exc:
        if exc.filename is None:
            raise
        raise click.FileError(file, hint=exc.strerror) from None
    click.echo(f"{_tasks(count)} written to {'the standard output' if file == '-' else file}.", err=file == "-")


def _which(ids: tuple[str, ...], *, everything: bool) -> tuple[str, ...] | Literal["all"]:
    if bool(ids) == everything:
        raise click.UsageError("Which ones? Give either their ids or --all.")
    return ALL if everything else ids


def _tasks(count: int) -> str:
    return f"{count} failed task{'' if count == 1 else 's'}"


def _summary(task: FailedTask) -> str:
    """Three lines of eighty columns at most: which one, what it was to do, and what went wrong."""
    head = f"{_plain(task.id):<36}  {_plain(task.reason):<14}  {_time(task.failed_at)}"
    lines = [f"    {_call(task)}", f"    {_one_line(task.error)}"]
    return "\n".join([click.style(_cut(head), bold=True), *(_cut(line) for line in lines if line.strip())])


def _details(task: FailedTask) -> str:
    rows = {
        "id": task.id,
        "task": task.task or "unknown",
        "reason": task.reason,
        "error": task.error,
        "failed at": _time(task.failed_at),
        "attempts": "" if task.attempts is None else str(task.attempts),
        "sent again": f"{task.manual_retries} times before" if task.manual_retries else "",
        "queue": task.queue,
        "worker": task.worker,
        "args": "could not be read" if task.args is None else _json(task.args),
        "kwargs": "could not be read" if task.kwargs is None else _json(task.kwargs),
    }
    lines = [_row(name, text) for name, text in rows.items() if text]
    return "\n".join([*lines, *(["", _plain(task.traceback).rstrip()] if task.traceback else [])])


def _row(name: str, text: str) -> str:
    width = max(shutil.get_terminal_size((WIDTH, 24)).columns, WIDTH)
    indent = " " * 12
    return textwrap.fill(_one_line(text), width, initial_indent=f"{name:<12}", subsequent_indent=indent)


def _call(task: FailedTask) -> str:
    if task.args is None or task.kwargs is None:
        return f"{_one_line(task.task)}  (arguments could not be read)" if task.task else "(could not be read)"
    arguments = [*map(_json, task.args), *(f"{name}={_json(value)}" for name, value in task.kwargs.items())]
    return _one_line(f"{task.task}({', '.join(arguments)})")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _time(at: datetime | None) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}" if at else ""


def _one_line(text: str) -> str:
    return _plain(" ".join(text.split()))


def _plain(text: str) -> str:
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"
