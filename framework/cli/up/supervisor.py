"""One run of ``framework up``: services up in order, a command in between, everything down in reverse."""

import asyncio
import signal
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

import click

from framework.cli.exit_codes import KILLED_BY, OK
from framework.cli.up.process_group import ProcessGroup
from framework.cli.up.project_dir import ProjectDir
from framework.cli.up.service import Service
from framework.cli.up.shutdown import Stop, StopRequested
from framework.cli.up.tty import Terminal
from framework.errors import CommandNotRunnable, FrameworkError

__all__ = ["Plan", "run"]


T = TypeVar("T")

#: Seconds of waiting for a service's end after which we say what we wait for.
SILENCE = 4.0


@dataclass(frozen=True)
class Plan:
    """What to run."""

    #: The broker's URL, without password; it is there already.
    broker: str
    #: The services in the order of their start: name and options of ``framework``.
    services: Sequence[tuple[str, list[str]]]
    #: The command to run while they do; empty to run until asked to stop.
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: ProjectDir
    #: Whether services write to the terminal instead of their logs.
    verbose: bool


def run(plan: Plan, gone: int) -> int:
    """Run ``plan`` and return the exit status of its command.

    Args:
        plan: what to run.
        gone: a file descriptor that can be read once who waits for us is gone.

    Raises:
        ServiceDied: a service ended by itself.
        FrameworkError: a service ended with this error.
    """
    return asyncio.run(_run(plan, gone))


def say(name: str, what: str, state: str = "") -> None:
    """Print one line about a part of the session."""
    with suppress(OSError):  # the terminal may be closed by now
        click.echo(f"{name:<8} {what}" + (f"  {click.style(state, fg='green')}" if state else ""), err=True)


async def _run(plan: Plan, gone: int) -> int:
    session = Supervisor(plan, Stop(gone))
    try:
        say("broker", plan.broker, "ready")
        for name, options in plan.services:
            await session.bring_up(name, options)
        return await session.run_command() if plan.command else await session.run_until_asked()
    except StopRequested as asked:
        return KILLED_BY + asked.signal
    finally:
        await session.bring_down()


@dataclass
class Supervisor:
    """The services that run, and the wish to stop."""

    plan: Plan
    stop: Stop
    services: list[Service] = field(default_factory=list)

    async def bring_up(self, name: str, options: Sequence[str]) -> None:
        """Start a service and wait until it is ready."""
        log = None if self.plan.verbose else self.plan.folder.log(name)
        service = await Service.begin(name, *options, environment=self.plan.environment, log=log)
        self.services.append(service)
        say(name, await self._unless_it_ends(service.ready()), "ready")

    async def run_until_asked(self) -> int:
        """Wait; returns `OK` when we are asked to stop."""
        say("", "Ctrl-C stops everything.")
        with suppress(StopRequested):
            await self._unless_it_ends(asyncio.Event().wait())
        return OK

    async def run_command(self) -> int:
        """Run the command to its end; returns its exit status as a shell does."""
        command = await self._start_command()
        terminal = Terminal()
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, terminal.suspended)
        asyncio.get_running_loop().add_signal_handler(signal.SIGCONT, terminal.resumed)
        terminal.lend(command.process.pid)
        try:
            status = await self._unless_it_ends(command.wait())
        except (StopRequested, FrameworkError) as exc:
            command.send_group(exc.signal if isinstance(exc, StopRequested) else signal.SIGTERM)
            status = await command.finish(self.stop.hurry)
            if isinstance(exc, FrameworkError):
                raise
        finally:
            terminal.take_back()
            command.send_group(signal.SIGTERM)  # what it left in the background
        return status if status >= 0 else KILLED_BY - status

    async def _start_command(self) -> ProcessGroup:
        try:
            return await ProcessGroup.start(*self.plan.command, env=self.plan.environment)
        except OSError as exc:
            raise CommandNotRunnable.named(self.plan.command[0], exc) from None

    async def bring_down(self) -> None:
        """Stop the services, the last first."""
        running = [service for service in reversed(self.services) if service.process.returncode is None]
        for service in running:
            service.send(signal.SIGTERM)
            if not await service.ended_within(SILENCE, self.stop.hurry) and not self.stop.hurry.is_set():
                say(service.name, "finishes what it is doing; Ctrl-C again to hurry.")
            await service.finish(self.stop.hurry)
        for service in self.services:
            service.send_group(signal.SIGKILL)
        if running:
            say("stopped", ", ".join(service.name for service in running))

    async def _unless_it_ends(self, wanted: Coroutine[object, object, T]) -> T:
        """Wait for ``wanted``; raises `Asked` or `ServiceDied` when one of these comes first."""
        task = asyncio.create_task(wanted)
        ends = [asyncio.create_task(end) for end in (self.stop.wait(), *(each.died() for each in self.services))]
        done, _ = await asyncio.wait([task, *ends], return_when=asyncio.FIRST_COMPLETED)
        first = task if task in done else done.pop()
        for each in (task, *ends):
            each.cancel()
        await asyncio.gather(task, *ends, return_exceptions=True)
        return first.result()  # type: ignore[return-value]
