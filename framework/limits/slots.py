"""Slots, kept by the broker: a queue that takes no more than so many messages, each for so long.

A confirmed publish is a slot that was taken, a refused one says that all are. RabbitMQ does not count a message that
somebody is looking at: looking at a slot would make room for one too many. So slots are never looked at; what is to be
seen of them lies in a queue beside, as notes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from typing import Any, NamedTuple

import amqp
from amqp.exceptions import MessageNacked

from framework.broker.queues import milliseconds

__all__ = [
    "Note",
    "Outcome",
    "acquire",
    "count_acquired",
    "declare",
    "declare_notes",
    "delete",
    "exclusive_lock",
    "look",
    "note",
    "release",
]


class Outcome(Enum):
    """What became of the wish for a slot."""

    TAKEN = auto()
    FULL = auto()
    MISSING = auto()


class Note(NamedTuple):
    """The oldest note, and how many there are besides that nobody else is looking at."""

    body: bytes
    others: int
    tag: int


def declare(channel: Any, name: str, size: int, window: float, life: float) -> None:
    """Have ``size`` slots that are free again after ``window`` seconds, until nobody declares them for ``life``."""
    arguments = {
        "x-queue-type": "classic",  # a quorum queue takes one too many when many publish at once
        "x-max-length": size,
        "x-overflow": "reject-publish",
        "x-message-ttl": milliseconds(window),
        "x-expires": milliseconds(life),
    }
    channel.queue_declare(name, durable=True, auto_delete=False, arguments=arguments)


def acquire(channel: Any, name: str, *, lasting: bool = True) -> Outcome:
    """Take a slot, if there is one; one that is not ``lasting`` is given back by a restart of the broker."""
    if not _publish(channel, name, b"", lasting):
        return Outcome.FULL
    return Outcome.MISSING if _was_returned(channel) else Outcome.TAKEN


def count_acquired(channel: Any, name: str) -> int:
    """How many slots are taken.

    Raises:
        amqp.exceptions.NotFound: there are no such slots.
    """
    return int(channel.queue_declare(name, passive=True).message_count)


def release(channel: Any, name: str) -> None:
    """Give the oldest slot back.

    Raises:
        amqp.exceptions.NotFound: there are no such slots.
    """
    channel.basic_get(name, no_ack=True)


def declare_notes(channel: Any, name: str, size: int, life: float, window: float | None = None) -> None:
    """Have a queue of the last ``size`` notes, each for ``window`` seconds where that is said."""
    arguments = {
        "x-queue-type": "classic",
        "x-max-length": size,
        "x-overflow": "drop-head",
        "x-expires": milliseconds(life),
    }
    if window is not None:
        arguments["x-message-ttl"] = milliseconds(window)
    channel.queue_declare(name, durable=True, auto_delete=False, arguments=arguments)


def note(channel: Any, name: str, body: bytes, *, lasting: bool = True) -> bool:
    """Add a note; where there are too many, the oldest goes. False where there is no such queue.

    One that is not ``lasting`` costs an eighth of the time, and is gone after a restart of the broker.
    """
    _publish(channel, name, body, lasting)
    return not _was_returned(channel)


def look(channel: Any, name: str, *, keep: bool = True) -> Note | None:
    """The oldest note, which stays, or with ``keep=False`` until its tag is acknowledged is nobody else's.

    None where there is none right now.

    Raises:
        amqp.exceptions.NotFound: there is no such queue.
    """
    message = channel.basic_get(name)
    if message is None:
        return None
    tag = message.delivery_tag
    if keep:
        channel.basic_reject(tag, requeue=True)
    body = message.body
    return Note(body.encode() if isinstance(body, str) else bytes(body), message.delivery_info["message_count"], tag)


def delete(channel: Any, name: str, *, if_empty: bool = False) -> None:
    """Delete a queue, if it is there.

    Raises:
        amqp.exceptions.PreconditionFailed: it is not empty, and that was to be respected.
    """
    channel.queue_delete(name, if_empty=if_empty)


@contextmanager
def exclusive_lock(channel: Any, name: str) -> Iterator[None]:
    """Be the only one on the broker who has ``name``; a process that dies lets go of it.

    Raises:
        amqp.exceptions.ResourceLocked: another connection has it, and the channel is closed.
    """
    channel.queue_declare(name, exclusive=True, auto_delete=False)
    try:
        yield
    except BaseException:
        channel.connection.collect()  # whatever state the channel is in, this lets go
        raise
    channel.queue_delete(name)


def _publish(channel: Any, name: str, body: bytes, lasting: bool) -> bool:
    """Publish, confirmed; False where the queue refuses it."""
    if not channel.events["basic_return"]:
        channel.returned = False
        channel.events["basic_return"].add(lambda *_: setattr(channel, "returned", True))
    # What py-amqp calls its confirmed publish, whatever the connection was told.
    publish = getattr(channel, "basic_publish_confirm", channel.basic_publish)
    try:
        publish(amqp.Message(body, delivery_mode=2 if lasting else 1), exchange="", routing_key=name, mandatory=True)
    except MessageNacked:
        return False
    return True


def _was_returned(channel: Any) -> bool:
    """Whether no queue took what was published last."""
    returned, channel.returned = channel.returned, False
    return bool(returned)
