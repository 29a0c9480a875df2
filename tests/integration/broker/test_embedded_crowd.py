"""Many processes on one file: none gets an error that it is locked."""

import multiprocessing
import os
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from kombu import Connection, Queue

from framework.broker import register

SECONDS = float(os.environ.get("EMBEDDED_CROWD_SECONDS", "4"))
WORKERS = 10
CALLERS = 50
PER_CALLER = 5

register()
processes = multiprocessing.get_context("fork")


@pytest.mark.timeout(240)
def test_ten_workers_and_fifty_short_lived_callers_share_a_file(tmp_path: Path, eventually) -> None:
    url, over = f"sqlite:///{tmp_path}/broker.db", processes.Event()
    with Connection(url) as connection:
        Queue("work", channel=connection.default_channel).declare()
    workers = [processes.Process(target=work, args=(url, over, tmp_path / f"{n}.log")) for n in range(WORKERS)]
    for worker in workers:
        worker.start()

    called = call_in_turns(url)

    eventually(lambda: len(handled(tmp_path)) >= called)
    over.set()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * WORKERS
    assert len(handled(tmp_path)) == len(set(handled(tmp_path))) == called


def call_in_turns(url: str) -> int:
    """Keep fifty callers running for `SECONDS`; return how many messages they sent."""
    end, called, number = time.monotonic() + SECONDS, 0, 0
    callers: list[multiprocessing.process.BaseProcess] = []
    while time.monotonic() < end or callers:
        while len(callers) < CALLERS and time.monotonic() < end:
            number += 1
            callers.append(processes.Process(target=call, args=(url, number)))
            callers[-1].start()
        oldest = callers.pop(0)
        oldest.join(90)
        assert oldest.exitcode == 0
        called += PER_CALLER
    return called


def call(url: str, number: int) -> None:
    with Connection(url) as connection:
        for count in range(PER_CALLER):
            connection.Producer().publish(f"{number}.{count}", routing_key="work")


def work(url: str, over: Event, log: Path) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def handle(message) -> None:
        os.write(file, f"{message.body}\n".encode())
        message.ack()

    with Connection(url) as connection, connection.Consumer(Queue("work"), on_message=handle, prefetch_count=4):
        while not over.is_set():
            try:
                connection.drain_events(timeout=0.2)
            except TimeoutError:
                continue


def handled(logs: Path) -> list[str]:
    return [line for log in logs.glob("*.log") for line in log.read_text().splitlines()]
