"""``framework failed``: lists, retries, drops and exports failed tasks."""

import json
import shutil
import textwrap
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import wraps
from typing import Any, Literal

import click

from framework.cli.broker_check import broker_errors_in_one_line, check_broker
from framework.cli.text import WIDTH, escaped, format_time, one_line, truncated
from framework.failures import ALL, FailedTask, Failures

__all__ = ["failed"]


@click.group()
def failed() -> None:
    """List the tasks that failed; retry them, or drop them.

    Safe while workers run, and safe to interrupt at any time.
    """


def _command(run: Callable[..., None]) -> Callable[..., None]:
    """Pass the application's failed tasks to ``run``, and report errors of the broker in one line."""

    @click.pass_context
    @wraps(run)
    def call(ctx: click.Context, /, *args: Any, **kwargs: Any) -> None:
        app = ctx.obj.app
        with broker_errors_in_one_line(app):
            check_broker(app)
            with suppress(Exception):  # of a broken task module, only the arguments' names are missing
                app.loader.import_default_modules()
            ctx.invoke(run, Failures(app), *args, **kwargs)

    return call


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
    page = found[:limit]
    if as_json:
        click.echo(json.dumps([asdict(each) for each in page], indent=2, ensure_ascii=False, default=str))
        return
    for each in page:
        click.echo(_summary(each))
    kind = " of this kind" if reason or task else ""
    if not page:
        click.echo(f"There are no{' more' if offset else ''} failed tasks{kind}.")
    elif len(found) > limit:
        click.echo(f"{_tasks(limit)}{kind}; {failures.count()} in all. The next ones: --offset {offset + limit}")
    else:
        click.echo(f"{_tasks(len(page))}{kind}.")


@failed.command()
@click.argument("id")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for scripts.")
@_command
def show(failures: Failures, *, id: str, as_json: bool) -> None:  # noqa: A002
    """Show everything that is stored of one failed task."""
    found = failures.get(id)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2, ensure_ascii=False, default=str))
    else:
        click.echo(_details(found))


@failed.command()
@_ids
@click.option("--all", "everything", is_flag=True, help="All failed tasks.")
@_reason
@_task
@_command
def retry(failures: Failures, *, ids: tuple[str, ...], everything: bool, reason: str | None, task: str | None) -> None:
    """Send failed tasks to their queues again, with the same ids."""
    sent = failures.retry(_which(ids, everything=everything), reason=reason, task=task)
    click.echo(f"{_tasks(sent)} sent again.")


@failed.command()
@_ids
@click.option("--all", "everything", is_flag=True, help="All failed tasks.")
@_reason
@_task
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
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
    """Three lines of 80 columns at most: the id and the reason, the call, the error."""
    head = f"{escaped(task.id):<36}  {escaped(task.reason):<14}  {_failed_at(task)}"
    lines = [f"    {_call(task)}", f"    {one_line(task.error)}"]
    return "\n".join([click.style(truncated(head), bold=True), *(truncated(line) for line in lines if line.strip())])


def _details(task: FailedTask) -> str:
    rows = {
        "id": task.id,
        "task": task.task or "unknown",
        "reason": task.reason,
        "error": task.error,
        "failed at": _failed_at(task),
        "attempts": "" if task.attempts is None else str(task.attempts),
        "sent again": f"{task.manual_retries} times before" if task.manual_retries else "",
        "queue": task.queue,
        "worker": task.worker,
        "args": "could not be read" if task.args is None else _json(task.args),
        "kwargs": "could not be read" if task.kwargs is None else _json(task.kwargs),
    }
    lines = [_row(name, text) for name, text in rows.items() if text]
    return "\n".join([*lines, *(["", escaped(task.traceback).rstrip()] if task.traceback else [])])


def _row(name: str, text: str) -> str:
    width = max(shutil.get_terminal_size((WIDTH, 24)).columns, WIDTH)
    indent = " " * 12
    return textwrap.fill(one_line(text), width, initial_indent=f"{name:<12}", subsequent_indent=indent)


def _call(task: FailedTask) -> str:
    if task.args is None or task.kwargs is None:
        return f"{one_line(task.task)}  (arguments could not be read)" if task.task else "(could not be read)"
    arguments = [*map(_json, task.args), *(f"{name}={_json(value)}" for name, value in task.kwargs.items())]
    return one_line(f"{task.task}({', '.join(arguments)})")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _failed_at(task: FailedTask) -> str:
    return format_time(task.failed_at) if task.failed_at else ""
