"""Tokens that the broker keeps: a queue that takes a limited number of messages, each for a limited time.

A confirmed publish acquires a token; a refused one means that all are acquired. RabbitMQ does not count a message that
a reader holds: reading a token would make room for one too many. So tokens are never read; the times when they were
acquired are messages of a second queue beside: its records.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from typing import Any, NamedTuple

import amqp
from amqp.exceptions import MessageNacked

from framework.broker.peek import peek
from framework.broker.queues import milliseconds

__all__ = [
    "Outcome",
    "Record",
    "acquire",
    "count_acquired",
    "declare",
    "declare_records",
    "exclusive_lock",
    "put_record",
    "read_oldest",
    "release",
    "take_oldest",
]


class Outcome(Enum):
    """The outcome of an attempt to acquire a token; MISSING: there is no such queue."""

    ACQUIRED = auto()
    FULL = auto()
    MISSING = auto()


class Record(NamedTuple):
    """The oldest record, and how many others there are; its ``tag`` is None where it was not taken."""

    body: bytes
    others: int
    tag: int | None = None


def declare(channel: Any, name: str, size: int, window: float, life: float) -> None:
    """Declare ``size`` tokens that are free again after ``window`` seconds; unused for ``life``, they are deleted."""
    arguments = {
        "x-queue-type": "classic",  # a quorum queue takes one too many when many publish at once
        "x-max-length": size,
        "x-overflow": "reject-publish",
        "x-message-ttl": milliseconds(window),
        "x-expires": milliseconds(life),
    }
    channel.queue_declare(name, durable=True, auto_delete=False, arguments=arguments)


def acquire(channel: Any, name: str, *, persistent: bool = True) -> Outcome:
    """Acquire a token, if one is free; one that is not ``persistent`` is released by a restart of the broker."""
    if not _publish(channel, name, b"", persistent):
        return Outcome.FULL
    return Outcome.MISSING if _was_returned(channel) else Outcome.ACQUIRED


def count_acquired(channel: Any, name: str) -> int:
    """Return how many tokens are acquired.

    Raises:
        amqp.exceptions.NotFound: there is no such queue.
    """
    return int(channel.queue_declare(name, passive=True).message_count)


def release(channel: Any, name: str) -> None:
    """Release the oldest token.

    Raises:
        amqp.exceptions.NotFound: there is no such queue.
    """
    channel.basic_get(name, no_ack=True)


def declare_records(channel: Any, name: str, size: int, life: float, window: float | None = None) -> None:
    """Declare a queue of the last ``size`` records, each for ``window`` seconds where that is given."""
    arguments = {
        "x-queue-type": "classic",
        "x-max-length": size,
        "x-overflow": "drop-head",
        "x-expires": milliseconds(life),
    }
    if window is not None:
        arguments["x-message-ttl"] = milliseconds(window)
    channel.queue_declare(name, durable=True, auto_delete=False, arguments=arguments)


def put_record(channel: Any, name: str, body: bytes, *, persistent: bool = True) -> bool:
    """Add a record; where there are too many, the oldest goes. Return False where there is no such queue.

    One that is not ``persistent`` costs an eighth of the time, and is gone after a restart of the broker.
    """
    _publish(channel, name, body, persistent)
    return not _was_returned(channel)


def read_oldest(channel: Any, name: str) -> Record | None:
    """Return the oldest record, which stays in the queue; None where there is none right now.

    Raises:
        amqp.exceptions.NotFound: there is no such queue.
    """
    if (message := peek(channel, name)) is None:
        return None
    return Record(_body_of(message), message.delivery_info["message_count"])


def take_oldest(channel: Any, name: str) -> Record | None:
    """Return the oldest record, which no other reader sees until its tag is acknowledged or rejected.

    Raises:
        amqp.exceptions.NotFound: there is no such queue.
    """
    if (message := channel.basic_get(name)) is None:
        return None
    return Record(_body_of(message), message.delivery_info["message_count"], message.delivery_tag)


@contextmanager
def exclusive_lock(channel: Any, name: str) -> Iterator[None]:
    """Hold the lock ``name``, which one connection has at a time; the broker releases that of a dead process.

    Raises:
        amqp.exceptions.ResourceLocked: another connection has it, and the channel is closed.
    """
    channel.queue_declare(name, exclusive=True, auto_delete=False)
    try:
        yield
    except BaseException:
        channel.connection.collect()  # releases the lock in any state of the channel
        raise
    channel.queue_delete(name)


def _publish(channel: Any, name: str, body: bytes, persistent: bool) -> bool:
    """Publish, confirmed; return False where the queue refuses it."""
    if not channel.events["basic_return"]:
        channel.returned = False
        channel.events["basic_return"].add(lambda *_: setattr(channel, "returned", True))
    # py-amqp's confirmed publish, also where the connection was made without confirm_publish.
    publish = getattr(channel, "basic_publish_confirm", channel.basic_publish)
    try:
        publish(amqp.Message(body, delivery_mode=2 if persistent else 1), exchange="", routing_key=name, mandatory=True)
    except MessageNacked:
        return False
    return True


def _body_of(message: Any) -> bytes:
    return message.body.encode() if isinstance(message.body, str) else bytes(message.body)


def _was_returned(channel: Any) -> bool:
    """Return whether no queue took the last publish, and reset the flag."""
    returned, channel.returned = channel.returned, False
    return bool(returned)
