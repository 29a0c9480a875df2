"""``framework up``: broker, worker and beat for as long as a command runs, and nothing left behind."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import click

from framework.cli.broker_check import check_broker
from framework.cli.up.project_dir import ProjectDir
from framework.cli.up.supervisor import Plan, run
from framework.cli.up.watchdog import guarded
from framework.errors import CommandNotFound

__all__ = ["up"]


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("-v", "--verbose", is_flag=True, help="Show what worker and beat say, instead of keeping it in logs.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def up(ctx: click.Context, *, verbose: bool, command: Sequence[str]) -> None:
    """Bring up broker, worker and beat; run COMMAND with them, or run until Ctrl-C.

    The broker is a file, .framework/broker.db in the current folder, unless CELERY_BROKER_URL names another.
    COMMAND finds it in CELERY_BROKER_URL; its exit status is ours.
    """
    if command and not shutil.which(command[0]) and not Path(command[0]).exists():
        raise CommandNotFound.named(command[0])
    folder = ProjectDir(Path.cwd())
    with folder.locked():
        os.environ["CELERY_BROKER_URL"] = os.environ.get("CELERY_BROKER_URL") or folder.broker_url()
        broker = check_broker(ctx.obj.app)
        plan = Plan(broker, _services(folder), command, _environment(ctx), folder, verbose)
        status = guarded(lambda gone: run(plan, gone))
    ctx.exit(status)


def _services(folder: ProjectDir) -> list[tuple[str, list[str]]]:
    """What to start, in this order; the names are unique, so that sessions do not disturb each other."""
    node = f"up-{os.getpid()}"
    # A lone worker has no neighbours to ask what they know.
    worker = ["--hostname", f"{node}@%h", "--without-mingle", "--without-gossip", "--loglevel", "INFO"]
    beat = ["--hostname", f"{node}-beat@%h", "--schedule", str(folder.path / "beat-schedule"), "--loglevel", "INFO"]
    return [("worker", worker), ("beat", beat)]


def _environment(ctx: click.Context) -> dict[str, str]:
    asked_for = ctx.parent.params.get("app") if ctx.parent else None
    return {**os.environ, **({"CELERY_APP": asked_for} if isinstance(asked_for, str) else {})}
