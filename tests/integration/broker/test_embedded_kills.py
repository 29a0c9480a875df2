"""Messages survive `kill -9`: producers and consumers of one file, the consumers killed at random."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from kombu import Connection, Queue

from framework.broker import register

PRODUCERS = 8
CONSUMERS = 8
MESSAGES = int(os.environ.get("EMBEDDED_KILLS_MESSAGES", "3000"))
BETWEEN_KILLS = float(os.environ.get("EMBEDDED_KILLS_EVERY", "0.15"))

processes = multiprocessing.get_context("fork")


@pytest.fixture
def url(tmp_path: Path) -> str:
    register()
    return f"sqlite:///{tmp_path}/broker.db"


@pytest.mark.timeout(300)
def test_no_message_is_lost_when_consumers_are_killed_at_random(url: str, tmp_path: Path) -> None:
    killed_thrice = processes.Event()
    with Connection(url) as connection:
        Queue("work", channel=connection.channel()).declare()
    share = MESSAGES // PRODUCERS

    producers = [
        processes.Process(target=produce, args=(url, number, share, killed_thrice)) for number in range(PRODUCERS)
    ]
    with running(producers):
        kills = consume_under_fire(url, tmp_path, share * PRODUCERS, killed_thrice)

    handled = [line for log in tmp_path.glob("*.log") for line in log.read_text().splitlines()]
    expected = {f"{producer} {number}" for producer in range(PRODUCERS) for number in range(share)}
    assert {line.split(" ", 1)[1] for line in handled} == expected
    assert kills >= 3
    assert_order_is_unchanged(tmp_path)


def assert_order_is_unchanged(logs: Path) -> None:
    for log in logs.glob("*.log"):
        first_time = [line.split() for line in log.read_text().splitlines() if line.startswith("new ")]
        for producer in range(PRODUCERS):
            numbers = [int(number) for _, of, number in first_time if int(of) == producer]
            assert numbers == sorted(numbers)


def consume_under_fire(url: str, logs: Path, expected: int, killed_thrice: Event) -> int:
    kills = done = 0
    incarnations = iter(range(100_000))

    def consumer() -> BaseProcess:
        log = logs / f"{next(incarnations)}.log"
        process = processes.Process(target=consume, args=(url, log))
        process.start()
        return process

    consumers = [consumer() for _ in range(CONSUMERS)]
    try:
        deadline = time.monotonic() + 200
        while (now := distinct(logs)) < expected:
            assert time.monotonic() < deadline, f"{now} of {expected} messages were handled"
            time.sleep(BETWEEN_KILLS)
            if kills >= 3:
                killed_thrice.set()
                if now == done:  # where consumers start slowly, all would be killed before they consume
                    continue
            done = now
            victim = random.randrange(CONSUMERS)
            consumers[victim].kill()
            consumers[victim].join()
            consumers[victim] = consumer()
            kills += 1
    finally:
        for process in consumers:
            process.kill()
            process.join()
    return kills


def distinct(logs: Path) -> int:
    return len({line.split(" ", 1)[1] for log in logs.glob("*.log") for line in log.read_text().splitlines()})


def produce(url: str, producer: int, count: int, killed_thrice: Event) -> None:
    """Publish half of the messages at once, and the others after three kills."""
    with Connection(url) as connection:
        publisher = connection.Producer()
        for number in range(count):
            if number == count // 2:
                assert killed_thrice.wait(200)
            publisher.publish([producer, number], routing_key="work")


def consume(url: str, log: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    handled = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def handle(body: list[int], message: object) -> None:
        age = "old" if message.delivery_info["redelivered"] else "new"
        os.write(handled, f"{age} {body[0]} {body[1]}\n".encode())
        message.ack()

    with Connection(url) as connection:
        consumer = connection.Consumer(Queue("work"), callbacks=[handle], accept=["json"])
        consumer.qos(prefetch_count=10)
        with consumer:
            while True:
                connection.drain_events()


@contextmanager
def running(all_of_them: list[BaseProcess]) -> Iterator[None]:
    for process in all_of_them:
        process.start()
    try:
        yield
        for process in all_of_them:
            process.join(60)
            assert process.exitcode == 0
    finally:
        for process in all_of_them:
            process.kill()
