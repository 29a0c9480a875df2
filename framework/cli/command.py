"""The command ``framework``: its options, and the commands, each of which is imported when it is called."""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import celery
import click
from amqp.exceptions import AMQPError
from celery.app.utils import find_app
from celery.bin.base import CLIContext
from kombu.exceptions import OperationalError

from framework import __version__
from framework.cli import ready
from framework.cli.broker_check import broker_error
from framework.cli.orphan import end_with_launcher
from framework.errors import BrokenApp, FrameworkError
from framework.errors.base import nearest

__all__ = ["CELERYS", "OURS", "Commands", "command", "complete", "run"]

APP = "framework.celery.celery"

#: Commands of the framework, each in the module of its name.
OURS = ("doctor", "failed", "result", "schedule", "tasks", "up", "watch")
#: Commands of Celery that are imported alone, with their modules: its command line imports all of them, and plugins.
CELERYS = {
    "beat": "celery.bin.beat",
    "call": "celery.bin.call",
    "control": "celery.bin.control",
    "events": "celery.bin.events",
    "inspect": "celery.bin.control",
    "purge": "celery.bin.purge",
    "status": "celery.bin.control",
    "worker": "celery.bin.worker",
}
_MODULES = {name: f"framework.cli.{name}" for name in OURS} | CELERYS
#: Options that reach the application, and every process started from here, as environment variables.
VARIABLES = {
    "loader": "CELERY_LOADER",
    "broker": "CELERY_BROKER_URL",
    "result_backend": "CELERY_RESULT_BACKEND",
    "config": "CELERY_CONFIG_MODULE",
    "skip_checks": "CELERY_SKIP_CHECKS",
}

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


def complete() -> click.Group:
    """Return Celery's command line with all its commands and those of its plugins."""
    from celery.bin.celery import celery as group

    return group


class Commands(click.Group):
    """The commands of the framework, of Celery and of Celery's plugins."""

    def list_commands(self, _: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted({*OURS, *complete().commands})

    def get_command(self, _: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command by its name."""
        if cmd_name not in _MODULES:
            return complete().commands.get(cmd_name)
        found: click.Command = getattr(import_module(_MODULES[cmd_name]), cmd_name)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments begin with.

        Raises:
            click.UsageError: there is none; the message contains the nearest one.
        """
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            fix = nearest(name, self.list_commands(ctx), "`framework --help` lists them.")
            raise click.UsageError(f"There is no command {name!r}. {fix}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command of the arguments.

        Raises:
            click.UsageError: the application is named after the command, where older versions of Celery had it.
        """
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as exc:
            if exc.option_name not in ("-A", "--app"):
                raise
            usage = f"framework {exc.option_name} APPLICATION {ctx.invoked_subcommand}"
            raise click.UsageError(f"{exc.option_name} stands before the command: {usage}", exc.ctx) from None


def _version(ctx: click.Context, _: click.Parameter, requested: bool) -> bool:
    if requested:
        click.echo(f"framework {__version__}, Celery {celery.VERSION_BANNER}")
        ctx.exit()
    return requested


def _change_folder(_: click.Context, __: click.Parameter, folder: Path | None) -> Path | None:
    if folder:
        os.chdir(folder)
    return folder


@click.group(cls=Commands, help=HELP, invoke_without_command=True)
@click.option("-A", "--app", envvar="CELERY_APP", default=APP, help=f"The application, by default {APP}.")
@click.option("-b", "--broker", envvar="BROKER_URL", help="The URL of the broker.")
@click.option("--result-backend", envvar="RESULT_BACKEND", help="The URL of the result backend.")
@click.option("--loader", envvar="LOADER", help="The class that loads the configuration and the task modules.")
@click.option("--config", envvar="CONFIG_MODULE", help="The module of the configuration, by default celeryconfig.")
@click.option(
    "--workdir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    callback=_change_folder,
    is_eager=True,
    help="The project's folder, by default the current one.",
)
@click.option("-C", "--no-color", envvar="NO_COLOR", is_flag=True, help="Print without colors and bold type.")
@click.option("-q", "--quiet", is_flag=True, help="Print less.")
@click.option(
    "--version", is_flag=True, is_eager=True, callback=_version, help="Show the framework's version and Celery's."
)
@click.option(
    "--skip-checks", envvar="SKIP_CHECKS", is_flag=True, help="Skip Django's system checks before a worker starts."
)
@click.pass_context
def command(ctx: click.Context, /, app: str, **options: Any) -> None:
    """Load the application, for the command that was called."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
        return
    if options["no_color"]:
        ctx.color = False
    os.environ.update({VARIABLES[name]: str(value) for name, value in options.items() if name in VARIABLES and value})
    ctx.obj = CLIContext(
        app=_find(app), no_color=options["no_color"], workdir=options["workdir"], quiet=options["quiet"]
    )
    if any(ctx.obj.app.user_options.values()) and (add_user_options := complete().callback):
        add_user_options(app=ctx.obj.app, **options)


def _find(name: str) -> celery.Celery:
    try:
        return find_app(name)
    except FrameworkError:
        raise
    except Exception as exc:
        is_name = isinstance(exc, ModuleNotFoundError) and exc.name == name
        raise BrokenApp.named(name, (is_name and exc.__context__) or exc) from exc
