"""Runs ``framework up``: starts the services in order, runs the command, stops the services in reverse order."""

import asyncio
import signal
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

import click

from framework.cli.exit_codes import KILLED_BY, OK
from framework.cli.up.descendants import end_with_parent
from framework.cli.up.process_group import ProcessGroup
from framework.cli.up.project_dir import ProjectDir
from framework.cli.up.service import Service
from framework.cli.up.shutdown import Shutdown, StopRequested
from framework.cli.up.tty import Terminal
from framework.errors import CommandNotRunnable, FrameworkError

__all__ = ["Plan", "run"]


T = TypeVar("T")

#: Seconds of waiting for a service's end after which a line says so.
STOP_NOTICE_SECONDS = 4.0


@dataclass(frozen=True)
class Plan:
    """The services and the command to run."""

    #: The URL of the running broker, without password.
    broker: str
    #: The services in the order of their start: the command of ``framework`` and its options.
    services: Sequence[tuple[str, list[str]]]
    #: The command to run with them; empty to run until a request to stop.
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: ProjectDir
    #: The file descriptor of the folder's lock, which the services hold too.
    lock: int
    #: Whether services write to the terminal instead of their logs.
    verbose: bool


def run(plan: Plan, watchdog_gone: int) -> int:
    """Run ``plan`` and return the exit status of its command.

    Args:
        plan: the services and the command.
        watchdog_gone: a file descriptor that is readable once the watchdog is gone.

    Raises:
        ServiceDied: a service ended unexpectedly.
        FrameworkError: a service ended with this error.
    """
    return asyncio.run(_run(plan, watchdog_gone))


def print_status(name: str, text: str, state: str = "") -> None:
    """Print a line about a part of the session."""
    with suppress(OSError):  # the terminal may be closed by now
        click.echo(f"{name:<8} {text}" + (f"  {click.style(state, fg='green')}" if state else ""), err=True)


async def _run(plan: Plan, watchdog_gone: int) -> int:
    session = Supervisor(plan, Shutdown(watchdog_gone))
    try:
        print_status("broker", plan.broker, "ready")
        for name, options in plan.services:
            await session.start_service(name, options)
        return await session.run_command() if plan.command else await session.run_until_stopped()
    except StopRequested as request:
        return KILLED_BY + request.signal
    finally:
        await session.stop_services()


@dataclass
class Supervisor:
    """The running services, and the requests to stop them."""

    plan: Plan
    shutdown: Shutdown
    services: list[Service] = field(default_factory=list)

    async def start_service(self, name: str, options: Sequence[str]) -> None:
        """Start a service and wait until it is ready."""
        log = None if self.plan.verbose else self.plan.folder.log(name)
        service = await Service.begin(name, *options, environment=self.plan.environment, log=log, lock=self.plan.lock)
        self.services.append(service)
        print_status(name, await self._unless_interrupted(service.wait_until_ready()), "ready")

    async def run_until_stopped(self) -> int:
        """Wait for a request to stop; return `OK`."""
        print_status("", "Ctrl-C stops everything.")
        with suppress(StopRequested):
            await self._unless_interrupted(asyncio.Event().wait())
        return OK

    async def run_command(self) -> int:
        """Run the command to its end; return its exit status as a shell does."""
        command = await self._start_command()
        terminal = Terminal()
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, terminal.suspended)
        asyncio.get_running_loop().add_signal_handler(signal.SIGCONT, terminal.resumed)
        terminal.put_in_foreground(command.process.pid)
        try:
            status = await self._unless_interrupted(command.wait())
        except (StopRequested, FrameworkError) as exc:
            command.send_group(exc.signal if isinstance(exc, StopRequested) else signal.SIGTERM)
            status = await command.finish(self.shutdown.hurry)
            if isinstance(exc, FrameworkError):
                raise
        finally:
            terminal.take_back()
            command.send_group(signal.SIGTERM)  # its background processes
        return status if status >= 0 else KILLED_BY - status

    async def _start_command(self) -> ProcessGroup:
        try:
            return await ProcessGroup.start(*self.plan.command, env=self.plan.environment, preexec_fn=end_with_parent)
        except OSError as exc:
            raise CommandNotRunnable.named(self.plan.command[0], exc) from None

    async def stop_services(self) -> None:
        """Stop the services in reverse order."""
        running = [service for service in reversed(self.services) if service.process.returncode is None]
        for service in running:
            service.send(signal.SIGTERM)
            if (
                not await service.ended_within(STOP_NOTICE_SECONDS, self.shutdown.hurry)
                and not self.shutdown.hurry.is_set()
            ):
                print_status(service.name, "finishes what it is doing; Ctrl-C again to hurry.")
            await service.finish(self.shutdown.hurry)
        for service in self.services:
            service.send_group(signal.SIGKILL)
        if running:
            print_status("stopped", ", ".join(service.name for service in running))

    async def _unless_interrupted(self, wanted: Coroutine[object, object, T]) -> T:
        """Wait for ``wanted``; raise `StopRequested` or `ServiceDied` where that comes first."""
        task = asyncio.create_task(wanted)
        watches = (self.shutdown.wait(), *(each.raise_on_exit() for each in self.services))
        ends = [asyncio.create_task(watch) for watch in watches]
        done, _ = await asyncio.wait([task, *ends], return_when=asyncio.FIRST_COMPLETED)
        first = task if task in done else done.pop()
        for each in (task, *ends):
            each.cancel()
        await asyncio.gather(task, *ends, return_exceptions=True)
        return first.result()  # type: ignore[return-value]
