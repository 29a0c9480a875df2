"""Follows a page literally, in a fresh copy of the project."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Self

from framework.testing.rabbitmq import free_ports
from recording.pages import Exchange, File, Typing, steps
from recording.terminal import Terminal
from recording.transcript import cleaned, same

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "omstd-framework"
#: The URL of RabbitMQ in the guide; it is replaced by the URL of the RabbitMQ that is used here.
RABBITMQ = "amqp://guest:guest@localhost:5672//"
LONG_RUNNING = ("celery -A", "framework worker", "framework beat", "make demo")
#: A terminal's echo of Ctrl-C.
STOPPED = "^C\n"
COMMAND_SECONDS = 90.0
INSTALL_SECONDS = 900.0


class Result(NamedTuple):
    """An exchange of the page, and the output that its command had."""

    exchange: Exchange
    output: str

    @property
    def as_expected(self) -> bool:
        """Whether the output is the page's."""
        return same(self.exchange.output, self.output)


class Reader:
    """Follows pages in a home folder with a copy of the project; closes its terminals at the end of the ``with``.

    Args:
        home: an empty folder.
        rabbitmq: the URL of a RabbitMQ; without one, the reader has the embedded broker.
        console: the file with that RabbitMQ's output.
        records: whether output is recorded: then the output of a long-running command is read until it is quiet.
        prepared: whether the project's packages are installed already; else `make` does it, from the network.
    """

    def __init__(
        self,
        home: Path,
        rabbitmq: str | None = None,
        console: Path | None = None,
        *,
        records: bool = False,
        prepared: bool = True,
    ) -> None:
        self.home = home
        self.broker = "rabbitmq" if rabbitmq else "embedded"
        self._address = rabbitmq or RABBITMQ
        self._records = records
        self._timeout = COMMAND_SECONDS if prepared else INSTALL_SECONDS
        self._open: list[Terminal] = []
        self._busy: Terminal | None = None
        self._closing = ExitStack()
        [self._mail_port] = free_ports(1)
        self._here = {str(home): "/home/reader"}
        if rabbitmq:
            self._here[f"amqp://guest:**@{rabbitmq.partition('@')[2]}"] = "amqp://guest:**@localhost:5672//"
        if console:
            self._here |= _package_folders(console.parent)
            _write_fake_server(home / "bin", console)
        copy_project(home / PROJECT)
        if prepared:
            make_environment(home / PROJECT)
        self._write(File("celeryconfig.py", (home / PROJECT / "celeryconfig.py").read_text()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.close()

    def follow(self, page: Path) -> Iterator[tuple[File | Typing, list[Result]]]:
        """Do the page's steps one by one, and yield each with its results."""
        for step in steps(page, self.broker):
            if isinstance(step, File):
                self._write(step)
                yield step, []
            else:
                yield step, [self._do(exchange) for exchange in step.exchanges]

    def _write(self, file: File) -> None:
        path = self.home / PROJECT / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text.replace(RABBITMQ, self._address))

    def _do(self, exchange: Exchange) -> Result:
        if exchange.command is None:
            return self._continue(exchange)
        terminal = self._free_terminal()
        terminal.enter(exchange.command.replace(RABBITMQ, self._address))
        if is_long_running(exchange.command):
            self._open.remove(terminal)
            self._busy = terminal
            self._watch(terminal, exchange)
        else:
            self._wait_until_ready(terminal)
        return Result(exchange, self._output(terminal, discard=True))

    def _continue(self, exchange: Exchange) -> Result:
        """Return the next output of the long-running command, after Ctrl-C if the page shows it."""
        terminal = self._busy_terminal()
        if not exchange.output.startswith(STOPPED):
            self._watch(terminal, exchange)
            return Result(exchange, self._output(terminal, discard=True))
        terminal.stop()
        self._wait_until_ready(terminal)
        self._busy = None
        self._open.append(terminal)
        return Result(exchange, STOPPED + self._output(terminal, discard=True))

    def _watch(self, terminal: Terminal, exchange: Exchange) -> None:
        """Wait for the expected output of a long-running command."""
        found = exchange.output and terminal.wait_for(
            lambda: same(exchange.output, self._output(terminal)), COMMAND_SECONDS
        )
        if self._records and not found:
            terminal.wait_until_quiet(5, 15)

    def _wait_until_ready(self, terminal: Terminal) -> None:
        if not terminal.wait_for(terminal.is_ready, self._timeout):
            raise TimeoutError(f"The command has not ended after {self._timeout} seconds:\n{self._output(terminal)}")

    def _output(self, terminal: Terminal, *, discard: bool = False) -> str:
        text = cleaned(terminal.output(), self._here)
        if discard:
            terminal.discard_output()
        return text

    def _busy_terminal(self) -> Terminal:
        if self._busy is None:
            raise LookupError("No long-running command is open.")
        return self._busy

    def _free_terminal(self) -> Terminal:
        if not self._open:
            terminal = Terminal(self.home, self._environment())
            self._closing.callback(terminal.close)
            self._open.append(terminal)
        return self._open[-1]

    def _environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "PATH": f"{self.home}/bin:{os.environ['PATH']}",
            "LC_ALL": "C.UTF-8",
            "MAIL_PORT": str(self._mail_port),  # where several readers share a machine, each has a mail server
            "VIRTUAL_ENV_DISABLE_PROMPT": "1",
        }


def is_long_running(command: str) -> bool:
    """Return whether a command runs until it is stopped."""
    return command.rstrip().endswith("&") or command.startswith(LONG_RUNNING)


def copy_project(folder: Path) -> None:
    """Copy the project's files, as a clone would have them."""
    names = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    )
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def make_environment(folder: Path) -> None:
    """Make a virtual environment for the copy with the packages of this one, so that `make` installs nothing."""
    venv.create(folder / ".venv", symlinks=True)
    packages = next((folder / ".venv/lib").glob("python*/site-packages"))
    (packages / "project.pth").write_text(f"{folder}\n{sysconfig.get_path('purelib')}\n")
    for name in ("framework", "celery"):
        lines = (Path(sys.executable).parent / name).read_text().splitlines(keepends=True)
        script = folder / ".venv/bin" / name
        script.write_text("".join([f"#!{folder}/.venv/bin/python\n", *lines[1:]]))
        script.chmod(0o755)
    (folder / ".venv/installed").touch()


def _write_fake_server(folder: Path, console: Path) -> None:
    """Write a `rabbitmq-server` that prints the output of the private node, which runs already and needs no root."""
    folder.mkdir(parents=True)
    for name, line in {"sudo": 'exec "$@"', "rabbitmq-server": f"exec tail -n +1 -f '{console}'"}.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)


def _package_folders(node: Path) -> dict[str, str]:
    """Map the private node's folders to those of an installed package."""
    return {
        f"{node}/rabbitmq.conf": "/etc/rabbitmq/rabbitmq.conf",
        f"{node}/log": "/var/log/rabbitmq",
        f"{node}": "/var/lib/rabbitmq",
        "test@localhost": "rabbit@localhost",
    }
