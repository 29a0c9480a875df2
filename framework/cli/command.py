"""Celery's command line as ``framework``, with the framework's application by default."""

import os
import sys
from collections.abc import Callable
from copy import copy
from functools import wraps
from typing import Any

import celery
import click
from amqp.exceptions import AMQPError
from celery.bin.celery import celery as celery_command
from kombu.exceptions import OperationalError

from framework import __version__
from framework.cli import ready
from framework.cli.broker_check import broker_error
from framework.cli.orphan import end_with_launcher
from framework.cli.result import result
from framework.errors import FrameworkError

__all__ = ["command", "run"]

APP = "framework.celery.celery"

HELP = """Tasks that are not lost: Celery's own command line, with this project's application.

\b
framework up -- python start.py   broker, worker, beat, while it runs
framework worker -B               a worker, with the scheduler inside
framework tasks                   list the tasks
framework call NAME --args '[1]'  call a task by its name
"""


def run() -> None:
    """Run the command line on the arguments of this process and exit with its status."""
    sys.path.insert(0, "")  # the project is the current folder, as with `python -m`
    os.environ.setdefault("CELERY_APP", APP)  # inherited by `worker --detach` and `multi`
    ready.announce_readiness()
    end_with_launcher()
    try:
        command.main(prog_name="framework", auto_envvar_prefix="CELERY")
    except (OperationalError, AMQPError) as exc:  # Celery's commands do not catch it
        error = broker_error(celery.current_app, exc)
        error.show()
        sys.exit(error.exit_code)


def _version(ctx: click.Context, _: click.Parameter, requested: bool) -> bool:
    if requested:
        click.echo(f"framework {__version__}, Celery {celery.VERSION_BANNER}")
        ctx.exit()
    return requested


def _in_one_line(callback: Any) -> Callable[..., Any]:
    """Wrap Celery's callback, which prints errors at import with a traceback, to print framework errors in one line.

    Celery's own output has no colors where the user wants none; with this, neither bold nor any other style of ours.
    """

    @wraps(callback)
    def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs["no_color"]:
            click.get_current_context().color = False
        try:
            return callback(*args, **kwargs)
        except click.UsageError as exc:
            if isinstance(exc.__context__, FrameworkError):
                raise exc.__context__ from None
            raise

    return call


def _replaced(params: list[click.Parameter], replacements: dict[str, click.Parameter]) -> list[click.Parameter]:
    return [replacements.get(str(param.name), param) for param in params]


command = copy(celery_command)
command.help = HELP
command.callback = _in_one_line(celery_command.callback)
command.commands = {**celery_command.commands, "result": result}
command.params = _replaced(
    celery_command.params,
    {
        "app": click.Option(
            ["-A", "--app"], envvar="CELERY_APP", default=APP, help=f"The application, by default {APP}."
        ),
        "version": click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            callback=_version,
            help="Show the framework's version and Celery's.",
        ),
    },
)
