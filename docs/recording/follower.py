"""Follows a page of the guide literally, in an empty project."""

import os
import re
import sys
from pathlib import Path

from recording.pages import Exchange, File, steps
from recording.terminal import Terminal
from recording.transcript import cleaned, difference, same

RABBITMQ = "amqp://guest:guest@localhost:5672//"
LONG_RUNNING = re.compile(r"\b(worker|beat|framework up)\b(?!.* -- )")
COMMAND_SECONDS = 60.0
# A warning's place in the library's source moves; it is left out of comparisons.
WARNING = re.compile(r"^\S+\.py:\d+: (\w+Warning: .*)\n  .*", re.MULTILINE)


class Follower:
    """Writes the files that a page shows and types its commands; closes its terminals at the end of ``with``.

    Args:
        folder: the project's folder.
        broker_url: the URL of the broker used instead of the page's ``amqp://guest:guest@localhost:5672//``.
        environment: more environment variables of the shell.
    """

    def __init__(self, folder: Path, broker_url: str, **environment: str) -> None:
        self._folder, self._broker_url = folder, broker_url
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = {"HOME": str(folder), "PATH": path, "LC_ALL": "C.UTF-8", **environment}
        # Commands that are repeated in each terminal that is opened later.
        self._setup_commands: list[str] = []
        self._free: list[Terminal] = []
        self._busy: list[Terminal] = []

    def __enter__(self) -> "Follower":
        return self

    def __exit__(self, *error: object) -> None:
        for terminal in [*self._busy, *self._free]:
            terminal.close()

    def differences(self, page: Path, broker: str = "rabbitmq") -> str:
        """Do the page's steps and return how the output differs from the page's, or an empty text."""
        found, done = [], 0
        for step in steps(page, broker):
            done += 1
            if isinstance(step, File):
                self._write(step)
            else:
                found += [self._difference(exchange) for exchange in step.exchanges]
        return "".join(found) if done else f"{page.name} has no steps"

    def _write(self, file: File) -> None:
        path = self._folder / file.name.replace("\\", "")  # as in \_\_init\_\_.py, which is bold otherwise
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text.replace(RABBITMQ, self._broker_url))

    def _difference(self, exchange: Exchange) -> str:
        command = exchange.command or ""
        if command.startswith("pip install"):
            return ""  # it is installed already, and a test needs no network
        output = self._stop() if exchange.command is None else self._type(exchange)
        if (
            exchange.command is None
            or same(exchange.output, output)
            or (not exchange.output and LONG_RUNNING.search(command))
        ):
            return ""
        return f"$ {command}\n{difference(exchange.output, output)}\n"

    def _type(self, exchange: Exchange) -> str:
        command = str(exchange.command).replace(RABBITMQ, self._broker_url)
        terminal = self._free.pop() if self._free else self._opened()
        if command.startswith(("cd ", "export ")):
            self._setup_commands.append(command)
        terminal.enter(command)
        if LONG_RUNNING.search(command):
            self._busy.append(terminal)
            terminal.wait_for(lambda: self._has_started(terminal, exchange), COMMAND_SECONDS)
        else:
            self._free.append(terminal)
            terminal.wait_for(terminal.is_ready, COMMAND_SECONDS)
        return self._output(terminal)

    def _has_started(self, terminal: Terminal, exchange: Exchange) -> bool:
        output = self._output(terminal)
        if not exchange.output:  # the page shows none: Celery's banner ends with its queues
            return "[queues]" in output
        return same(exchange.output, output) or terminal.is_ready()

    def _stop(self) -> str:
        terminal = self._busy.pop()
        terminal.stop()
        terminal.wait_for(terminal.is_ready, COMMAND_SECONDS)
        self._free.append(terminal)
        return self._output(terminal)

    def _output(self, terminal: Terminal) -> str:
        return WARNING.sub(r"\1", cleaned(terminal.output(), {str(self._folder): "/home/reader"}))

    def _opened(self) -> Terminal:
        terminal = Terminal(self._folder, self._environment)
        for command in self._setup_commands:
            terminal.enter(command)
            terminal.wait_for(terminal.is_ready, COMMAND_SECONDS)
        return terminal
