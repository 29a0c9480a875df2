"""``framework tasks``: lists the tasks."""

import inspect
import json
import textwrap
from collections.abc import Iterator
from typing import Any

import click
from celery import Celery

from framework.cli.text import WIDTH
from framework.schedule.description import describe_schedule
from framework.schedule.entries import entries_of

__all__ = ["described_tasks", "tasks"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list, for scripts.")
@click.pass_context
def tasks(ctx: click.Context, *, as_json: bool) -> None:
    """List every task: its name, its arguments, its description and its schedule."""
    found = described_tasks(ctx.obj.app)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif found:
        click.echo("\n".join(line for task in found for line in _lines(task)))
    else:
        click.echo("There are no tasks yet. Write a function with @celery.task above it into a file of a task package.")


def described_tasks(app: Celery) -> list[dict[str, Any]]:
    """Return every task of the project, sorted by name: ``name``, ``signature``, ``doc`` and ``schedule``.

    The task modules are imported for this; Celery's own tasks are left out.

    Raises:
        BrokenTaskModule: a task module cannot be imported.
        DuplicateTask: two functions have the same task name.
        BadEntries: an entry of the beat schedule is invalid.
    """
    app.loader.import_default_modules()
    app.finalize(auto=True)
    entries = entries_of(app).values()
    return [
        {
            "name": name,
            "signature": str(inspect.signature(task.run)),
            "doc": (inspect.getdoc(task.run) or "").partition("\n")[0],
            "schedule": [
                {"entry": entry.name, "when": describe_schedule(entry.schedule)}
                for entry in entries
                if entry.task == name
            ],
        }
        for name, task in sorted(app.tasks.items())
        if not name.startswith("celery.")
    ]


def _lines(task: dict[str, Any]) -> Iterator[str]:
    yield click.style(task["name"], bold=True)
    yield from _paragraph(task["signature"], hanging="     ")
    yield from _paragraph(task["doc"])
    for time in task["schedule"]:
        yield from _paragraph(f"{time['when']} ({time['entry']})")


def _paragraph(text: str, hanging: str = "    ") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent=hanging, break_on_hyphens=False)
