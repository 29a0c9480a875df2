"""Samples processes, through ``/proc``, and brokers."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

from framework.testing.rabbitmq import RabbitMQ

PROC = Path("/proc")
#: A name, its kind (see `growth.TOLERANCES`) and its value.
Sample = tuple[str, str, float]

COUNTS = """
    V = <<"{vhost}">>,
    Messages = [N || [{{messages, N}}] <- rabbit_amqqueue:info_all(V, [messages]), is_integer(N)],
    {{length(rabbit_amqqueue:list(V)), length(rabbit_binding:list(V)), length(rabbit_networking:connections()),
      length(rabbit_channel:list()), lists:sum(Messages)}}."""


def process(name: str, pid: int) -> Iterator[Sample]:
    """Yield memory, file descriptors and threads of a process; nothing if it has ended.

    Its memory is the resident anonymous one: without file caches, and the same when a page that it shares is copied.
    """
    with suppress(OSError):
        folder = PROC / str(pid)
        status = (folder / "status").read_text()
        memory = int(re.search(r"^RssAnon:\s+(\d+)", status, re.MULTILINE)[1]) * 1024
        descriptors, threads = len(list((folder / "fd").iterdir())), len(list((folder / "task").iterdir()))
        yield f"{name}: memory", "memory", memory
        yield f"{name}: file descriptors", "descriptors", descriptors
        yield f"{name}: threads", "threads", threads


def children(pid: int) -> list[int]:
    """Return the child processes of a process."""
    return [int(child) for child in (PROC / str(pid) / "task" / str(pid) / "children").read_text().split()]


def timers(name: str, file: Path) -> Iterator[Sample]:
    """Yield the number of timers that a worker wrote to a file."""
    with suppress(OSError, ValueError):  # not there yet, or being written
        yield f"{name}: timers", "timers", int(file.read_text())


def embedded(file: Path) -> Callable[[], Iterator[Sample]]:
    """Return a function that yields the sizes of the embedded broker's files and the rows of its tables."""
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, isolation_level=None)
    tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table' order by 1")]

    def samples() -> Iterator[Sample]:
        yield "broker: SQLite file", "file", file.stat().st_size
        yield "broker: write-ahead log", "wal", file.with_name(f"{file.name}-wal").stat().st_size
        for table in tables:
            with closing(connection.execute(f'select count(*) from "{table}"')) as rows:
                kind = "messages" if table == "message" else "broker"
                yield f"broker: rows of {table}", kind, rows.fetchone()[0]

    return samples


def rabbitmq(server: RabbitMQ, url: str) -> Callable[[], Iterator[Sample]]:
    """Return a function that yields what a virtual host and its node have."""
    program = COUNTS.format(vhost=url.rpartition("/")[2])

    def samples() -> Iterator[Sample]:
        *counts, messages = map(int, re.findall(r"\d+", server.ctl("eval", program)))
        for name, number in zip(("queues", "bindings", "connections", "channels"), counts, strict=True):
            yield f"broker: {name}", "broker", number
        yield "broker: messages", "messages", messages

    return samples
