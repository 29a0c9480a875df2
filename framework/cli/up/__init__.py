"""``framework up``: runs broker, worker and beat while a command runs, and ends all their processes."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import click

from framework.cli.broker_check import check_broker
from framework.cli.up.project_dir import ProjectDir
from framework.cli.up.supervisor import Plan, run
from framework.cli.up.watchdog import run_with_watchdog
from framework.errors import CommandNotFound

__all__ = ["up"]


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("-v", "--verbose", is_flag=True, help="Show the output of worker and beat instead of writing it to logs.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def up(ctx: click.Context, *, verbose: bool, command: Sequence[str]) -> None:
    """Start broker, worker and beat; run COMMAND with them, or run until Ctrl-C.

    The broker is a file, .framework/broker.db in the current folder, unless CELERY_BROKER_URL names another.
    CELERY_BROKER_URL is set for COMMAND. The exit status is that of COMMAND.
    """
    if command and not shutil.which(command[0]) and not Path(command[0]).exists():
        raise CommandNotFound.named(command[0])
    folder = ProjectDir(Path.cwd())
    with folder.locked() as lock:
        os.environ["CELERY_BROKER_URL"] = os.environ.get("CELERY_BROKER_URL") or folder.broker_url()
        broker = check_broker(ctx.obj.app)
        plan = Plan(broker, _services(folder), command, _environment(ctx), folder, lock, verbose)
        status = run_with_watchdog(lambda watchdog_gone: run(plan, watchdog_gone))
    ctx.exit(status)


def _services(folder: ProjectDir) -> list[tuple[str, list[str]]]:
    """Return the services in the order of their start; node names are unique, so that several sessions can run."""
    node = f"up-{os.getpid()}"
    # A single worker has no other workers to exchange state with.
    worker = ["--hostname", f"{node}@%h", "--without-mingle", "--without-gossip", "--loglevel", "INFO"]
    beat = ["--hostname", f"{node}-beat@%h", "--schedule", str(folder.path / "beat-schedule"), "--loglevel", "INFO"]
    return [("worker", worker), ("beat", beat)]


def _environment(ctx: click.Context) -> dict[str, str]:
    app = ctx.parent.params.get("app") if ctx.parent else None
    return {**os.environ, **({"CELERY_APP": app} if isinstance(app, str) else {})}
