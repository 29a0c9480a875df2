"""Delays in the broker: a message waits in queues whose time-to-live adds up to its delay, then goes to its queue.

There is one level for each power of two of a quarter of a second. The routing key is the delay in binary, one word
per level, and the name of the queue: a level whose word is ``1`` holds the message for its time, the others route it
to the next level. The last exchange binds each queue by exactly that many words and its name, so that no queue gets
the messages of another whose name ends in the same words.
"""

from math import ceil
from typing import Any

from kombu import Queue
from kombu.abstract import MaybeChannelBound

__all__ = ["LEVELS", "LONGEST_SECONDS", "DelayedQueue", "level_queue", "queue_named_by", "route"]

#: Seconds of the shortest level; delays are rounded up to it.
UNIT_SECONDS = 0.25

LEVELS = 30

#: The longest delay, over eight years.
LONGEST_SECONDS = UNIT_SECONDS * (2**LEVELS - 1)

#: The exchange that routes a message to its queue after its delay.
DELAYED = "celery.delayed"


def route(seconds: float, queue: str) -> tuple[str, str]:
    """Return the exchange and the routing key that route a message to ``queue`` after ``seconds``.

    >>> from framework.broker.delays import route
    >>> exchange, key = route(1.0, "mail")
    >>> exchange, key[-10:]
    ('celery.delay.2', '1.0.0.mail')
    """
    quarters = min(ceil(seconds / UNIT_SECONDS), 2**LEVELS - 1)
    return _level(quarters.bit_length() - 1), f"{'.'.join(f'{quarters:0{LEVELS}b}')}.{queue}"


def queue_named_by(exchange: str, routing_key: str) -> str:
    """Return the queue that a message was published to by name, with or without a delay; else an empty string."""
    if exchange == DELAYED:
        return routing_key.split(".", LEVELS)[-1]
    return "" if exchange else routing_key


class DelayedQueue(MaybeChannelBound):
    """A queue with delays; declaring it declares the levels, the queue and its binding."""

    can_cache_declaration = True

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.name = queue.name

    def __hash__(self) -> int:
        return hash((DELAYED, self.queue.name))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DelayedQueue) and other.queue.name == self.queue.name

    def __copy__(self) -> "DelayedQueue":
        return DelayedQueue(self.queue)

    def declare(self, channel: Any = None, **_: Any) -> None:
        """Declare all exchanges, queues and bindings, and wait for the last answer only."""
        channel = channel or self.channel
        channel.exchange_declare(DELAYED, "topic", durable=True, auto_delete=False, nowait=True)
        for level in range(LEVELS):
            _declare_level(level, channel)
        self.queue(channel).declare()
        channel.queue_bind(self.name, DELAYED, f"{'*.' * LEVELS}{self.name}")


def level_queue(level: int) -> Queue:
    """Return the queue of one level, with its arguments."""
    arguments = {
        "x-queue-type": "quorum",
        "x-message-ttl": int(UNIT_SECONDS * 2**level * 1000),
        "x-dead-letter-exchange": _below(level),
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    return Queue(_level(level), queue_arguments=arguments)


def _below(level: int) -> str:
    return _level(level - 1) if level else DELAYED


def _level(level: int) -> str:
    return f"celery.delay.{level}"


def _declare_level(level: int, channel: Any) -> None:
    """Declare the queue of one level and the bindings around it; lower levels exist already."""
    queue = level_queue(level)
    name, below = queue.name, _below(level)
    words = "*." * (LEVELS - 1 - level)
    channel.exchange_declare(name, "topic", durable=True, auto_delete=False, nowait=True)
    channel.queue_declare(name, durable=True, auto_delete=False, arguments=queue.queue_arguments, nowait=True)
    channel.queue_bind(name, name, f"{words}1.#", nowait=True)
    channel.exchange_bind(below, name, f"{words}0.#", nowait=True)
