"""A reader with a fresh copy of the project, who follows a page literally."""

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
from recording.shown import cleaned, same
from recording.terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "omstd-framework"
#: Where the guide says that a RabbitMQ is. The one that a reader here has may be elsewhere.
RABBITMQ = "amqp://guest:guest@localhost:5672//"
STAYS = ("celery -A", "framework worker", "framework beat", "make demo")
#: How a terminal shows that Ctrl-C was pressed.
STOPPED = "^C\n"
SECONDS = 90.0
SECONDS_TO_INSTALL = 900.0


class Seen(NamedTuple):
    """What was to be shown, and what was."""

    exchange: Exchange
    shown: str

    @property
    def as_expected(self) -> bool:
        """Whether they are the same."""
        return same(self.exchange.shown, self.shown)


class Reader:
    """Somebody in a home folder with nothing but a copy of the project, and terminals, which close with the ``with``.

    Args:
        home: an empty folder.
        rabbitmq: the URL of a RabbitMQ; without one, the reader has the embedded broker.
        console: the file with what that RabbitMQ says.
        records: whether what commands show is to be recorded: one that stays is waited for until it is quiet.
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
        self._patience = SECONDS if prepared else SECONDS_TO_INSTALL
        self._open: list[Terminal] = []
        self._busy: Terminal | None = None
        self._closing = ExitStack()
        [self._mail_port] = free_ports(1)
        self._here = {str(home): "/home/reader"}
        if rabbitmq:
            self._here[f"amqp://guest:**@{rabbitmq.partition('@')[2]}"] = "amqp://guest:**@localhost:5672//"
        if console:
            self._here |= _folders_of_a_package(console.parent)
            _stand_in_for_the_server(home / "bin", console)
        copy_of_the_project(home / PROJECT)
        if prepared:
            environment_like_ours(home / PROJECT)
        self._write(File("celeryconfig.py", (home / PROJECT / "celeryconfig.py").read_text()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.close()

    def follow(self, page: Path) -> Iterator[tuple[File | Typing, list[Seen]]]:
        """Do what the page says, and tell of each step what was shown."""
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

    def _do(self, exchange: Exchange) -> Seen:
        if exchange.command is None:
            return self._go_on(exchange)
        terminal = self._free_terminal()
        terminal.enter(exchange.command.replace(RABBITMQ, self._address))
        if stays(exchange.command):
            self._open.remove(terminal)
            self._busy = terminal
            self._watch(terminal, exchange)
        else:
            self._wait_until_ready(terminal)
        return Seen(exchange, self._said(terminal, then_forget=True))

    def _go_on(self, exchange: Exchange) -> Seen:
        """What the terminal shows whose command stays, as more happens or after Ctrl-C."""
        terminal = self._busy_terminal()
        if not exchange.shown.startswith(STOPPED):
            self._watch(terminal, exchange)
            return Seen(exchange, self._said(terminal, then_forget=True))
        terminal.stop()
        self._wait_until_ready(terminal)
        self._busy = None
        self._open.append(terminal)
        return Seen(exchange, STOPPED + self._said(terminal, then_forget=True))

    def _watch(self, terminal: Terminal, exchange: Exchange) -> None:
        """Wait until a command that stays has shown what it is to show."""
        seen = exchange.shown and terminal.wait_for(lambda: same(exchange.shown, self._said(terminal)), SECONDS)
        if self._records and not seen:
            terminal.wait_until_quiet(5, 15)

    def _wait_until_ready(self, terminal: Terminal) -> None:
        if not terminal.wait_for(terminal.is_ready, self._patience):
            raise TimeoutError(f"It has not ended after {self._patience} seconds:\n{self._said(terminal)}")

    def _said(self, terminal: Terminal, *, then_forget: bool = False) -> str:
        text = cleaned(terminal.shown(), self._here)
        if then_forget:
            terminal.forget()
        return text

    def _busy_terminal(self) -> Terminal:
        if self._busy is None:
            raise LookupError("No command runs whose output could go on.")
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


def stays(command: str) -> bool:
    """Whether a command runs until somebody ends it."""
    return command.rstrip().endswith("&") or command.startswith(STAYS)


def copy_of_the_project(folder: Path) -> None:
    """The project's files, as a clone would have them."""
    names = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    )
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def environment_like_ours(folder: Path) -> None:
    """A virtual environment with the packages of this one, for the copy, so that `make` has nothing to install."""
    venv.create(folder / ".venv", symlinks=True)
    packages = next((folder / ".venv/lib").glob("python*/site-packages"))
    (packages / "project.pth").write_text(f"{folder}\n{sysconfig.get_path('purelib')}\n")
    for name in ("framework", "celery"):
        lines = (Path(sys.executable).parent / name).read_text().splitlines(keepends=True)
        script = folder / ".venv/bin" / name
        script.write_text("".join([f"#!{folder}/.venv/bin/python\n", *lines[1:]]))
        script.chmod(0o755)
    (folder / ".venv/installed").touch()


def _stand_in_for_the_server(folder: Path, console: Path) -> None:
    """`rabbitmq-server` shows what the private node says, which runs already and needs no root."""
    folder.mkdir(parents=True)
    for name, line in {"sudo": 'exec "$@"', "rabbitmq-server": f"exec tail -n +1 -f '{console}'"}.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)


def _folders_of_a_package(node: Path) -> dict[str, str]:
    """What the private node's folders are called where a package installed it."""
    return {
        f"{node}/rabbitmq.conf": "/etc/rabbitmq/rabbitmq.conf",
        f"{node}/log": "/var/log/rabbitmq",
        f"{node}": "/var/lib/rabbitmq",
        "test@localhost": "rabbit@localhost",
    }
