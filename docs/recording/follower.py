"""Somebody who follows a page of the guide literally, in a project of their own."""

import os
import re
import sys
from pathlib import Path

from recording.pages import Exchange, File, steps
from recording.shown import cleaned, difference, same
from recording.terminal import Terminal

RABBITMQ = "amqp://guest:guest@localhost:5672//"
STAYS = re.compile(r"\b(worker|beat|framework up)\b(?!.* -- )")
SECONDS = 60.0
# Where a warning comes from is a line of ours that moves, and its source.
WARNED = re.compile(r"^\S+\.py:\d+: (\w+Warning: .*)\n  .*", re.MULTILINE)


class Follower:
    """Writes the files that a page shows and types its commands; closes its terminals at the end of ``with``.

    Args:
        folder: the project's, where everything happens.
        broker_url: of the broker that stands for the page's ``amqp://guest:guest@localhost:5672//``.
        environment: more variables of the shell.
    """

    def __init__(self, folder: Path, broker_url: str, **environment: str) -> None:
        self._folder, self._broker_url = folder, broker_url
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = {"HOME": str(folder), "PATH": path, "LC_ALL": "C.UTF-8", **environment}
        # What is done in each terminal that is opened later.
        self._habits: list[str] = []
        self._free: list[Terminal] = []
        self._busy: list[Terminal] = []

    def __enter__(self) -> "Follower":
        return self

    def __exit__(self, *error: object) -> None:
        for terminal in [*self._busy, *self._free]:
            terminal.close()

    def differences(self, page: Path, broker: str = "rabbitmq") -> str:
        """Do what the page says; how what was shown differs from what it says, or nothing."""
        found, done = [], 0
        for step in steps(page, broker):
            done += 1
            if isinstance(step, File):
                self._write(step)
            else:
                found += [self._difference(exchange) for exchange in step.exchanges]
        return "".join(found) if done else f"{page.name} says nothing to do"

    def _write(self, file: File) -> None:
        path = self._folder / file.name.replace("\\", "")  # as in \_\_init\_\_.py, which is bold otherwise
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text.replace(RABBITMQ, self._broker_url))

    def _difference(self, exchange: Exchange) -> str:
        command = exchange.command or ""
        if command.startswith("pip install"):
            return ""  # it is installed, and a test needs no network
        shown = self._stop() if exchange.command is None else self._type(exchange)
        if exchange.command is None or same(exchange.shown, shown) or (not exchange.shown and STAYS.search(command)):
            return ""
        return f"$ {command}\n{difference(exchange.shown, shown)}\n"

    def _type(self, exchange: Exchange) -> str:
        command = str(exchange.command).replace(RABBITMQ, self._broker_url)
        terminal = self._free.pop() if self._free else self._opened()
        if command.startswith(("cd ", "export ")):
            self._habits.append(command)
        terminal.enter(command)
        if STAYS.search(command):
            self._busy.append(terminal)
            terminal.wait_for(lambda: self._has_begun(terminal, exchange), SECONDS)
        else:
            self._free.append(terminal)
            terminal.wait_for(terminal.is_ready, SECONDS)
        return self._shown(terminal)

    def _has_begun(self, terminal: Terminal, exchange: Exchange) -> bool:
        shown = self._shown(terminal)
        if not exchange.shown:  # the page says nothing: a banner of Celery's ends with its queues
            return "[queues]" in shown
        return same(exchange.shown, shown) or terminal.is_ready()

    def _stop(self) -> str:
        terminal = self._busy.pop()
        terminal.stop()
        terminal.wait_for(terminal.is_ready, SECONDS)
        self._free.append(terminal)
        return self._shown(terminal)

    def _shown(self, terminal: Terminal) -> str:
        return WARNED.sub(r"\1", cleaned(terminal.shown(), {str(self._folder): "/home/reader"}))

    def _opened(self) -> Terminal:
        terminal = Terminal(self._folder, self._environment)
        for habit in self._habits:
            terminal.enter(habit)
            terminal.wait_for(terminal.is_ready, SECONDS)
        return terminal
