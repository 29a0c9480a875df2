"""Delays in the broker: a message waits in queues whose time-to-live adds up to its delay, then goes to its queue.

There is one level for each power of two of a quarter of a second. The routing key is the delay in binary, one word
per level, and the name of the queue: a level whose word is ``1`` holds the message for its time, the others route it
to the next level. The last exchange binds each queue by exactly that many words and its name, so that no queue gets
the messages of another whose name ends in the same words.

A level holds the messages of all queues, and RabbitMQ stops dead-lettering from it once about 32 of them are neither
delivered nor refused. So no level waits for a task queue: each task queue has a step queue in front, which accepts
every message and holds those that its task queue refuses because it is full. A message whose task queue was deleted
goes by an alternate exchange to the failed-task queue.
"""

from collections.abc import Mapping
from math import ceil
from typing import Any

from amqp.exceptions import NotFound
from kombu import Queue
from kombu.abstract import MaybeChannelBound

__all__ = [
    "LEVELS",
    "LONGEST_SECONDS",
    "DelayedQueue",
    "bind_delayed",
    "bind_due",
    "bind_step",
    "declare_due",
    "delays_in_use",
    "level_queue",
    "queue_delayed_for",
    "queue_named_by",
    "route",
    "step_queue",
    "unbind_due",
]

#: Seconds of the shortest level; delays are rounded up to it.
UNIT_SECONDS = 0.25

LEVELS = 30

#: The longest delay, over eight years.
LONGEST_SECONDS = UNIT_SECONDS * (2**LEVELS - 1)

#: The exchange that routes a message to its step queue after its delay.
DELAYED = "celery.delayed"

#: The exchange that routes a message from its step queue to its queue.
DUE = "celery.due"

#: The exchange that routes a message whose queue was deleted to the failed-task queue.
UNDELIVERED = "celery.undelivered"


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
    if exchange in (DELAYED, DUE):
        return routing_key.split(".", LEVELS)[-1]
    return "" if exchange else routing_key


def queue_delayed_for(death: Mapping[str, Any]) -> str:
    """Return the queue to which a message could not be delivered after its delay, from its newest ``x-death`` record.

    The result is empty for a message that died elsewhere.
    """
    died_in, keys = str(death.get("queue")), death.get("routing-keys")
    if not died_in.startswith(("celery.delay.", f"{DUE}.")) or not keys:
        return ""
    return str(keys[0]).split(".", LEVELS)[-1]


class DelayedQueue(MaybeChannelBound):
    """A queue with delays; declaring it declares the levels, the queue, its step queue and their bindings.

    Args:
        queue: The task queue.
        failed_exchange: The exchange of the failed-task queue, which must exist.
    """

    can_cache_declaration = True

    def __init__(self, queue: Queue, failed_exchange: str) -> None:
        self.queue = queue
        self.name = queue.name
        self.failed_exchange = failed_exchange

    def __hash__(self) -> int:
        return hash((DELAYED, self.queue.name, self.failed_exchange))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DelayedQueue) and hash(self) == hash(other)

    def __copy__(self) -> "DelayedQueue":
        return DelayedQueue(self.queue, self.failed_exchange)

    def declare(self, channel: Any = None, **_: Any) -> None:
        """Declare all exchanges, queues and bindings, and wait for the last answer only."""
        channel = channel or self.channel
        _declare_exchange(UNDELIVERED, channel)
        _declare_exchange(DELAYED, channel, {"alternate-exchange": UNDELIVERED})
        for level in range(LEVELS):
            _declare_level(level, channel)
        step = step_queue(self.name)
        _declare_queue(step, channel)
        channel.queue_bind(step.name, DELAYED, _after_delays(self.name), nowait=True)
        self.queue(channel).declare()
        declare_due(self.name, self.failed_exchange, channel)


def declare_due(name: str, failed_exchange: str, channel: Any) -> None:
    """Declare the exchanges that deliver delayed messages to an existing queue, or to the failed-task queue."""
    _declare_exchange(UNDELIVERED, channel)
    _declare_exchange(DUE, channel, {"alternate-exchange": UNDELIVERED})
    channel.exchange_bind(failed_exchange, UNDELIVERED, _after_delays(name), nowait=True)
    bind_due(name, name, channel)


def bind_due(name: str, destination: str, channel: Any) -> None:
    """Deliver the delayed messages of the queue ``name`` to the queue ``destination`` from now on."""
    channel.queue_bind(destination, DUE, _after_delays(name))


def bind_delayed(name: str, destination: str, channel: Any) -> None:
    """Deliver what was delayed for the queue ``name`` to the queue ``destination``, without a step queue."""
    channel.queue_bind(destination, DELAYED, _after_delays(name))


def bind_step(step: str, destination: str, channel: Any) -> None:
    """Deliver what was published to a step queue by its name to the queue ``destination``."""
    channel.queue_bind(destination, DUE, step)


def unbind_due(name: str, destination: str, channel: Any) -> None:
    """Stop what `bind_due` began."""
    channel.queue_unbind(destination, DUE, _after_delays(name))


def delays_in_use(connection: Any) -> bool:
    """Return whether a worker, or a call with a delay, has declared the ends of delays on a broker."""
    channel = connection.channel()
    try:
        channel.exchange_declare(DUE, "topic", passive=True)
    except NotFound:
        return False
    channel.close()
    return True


def step_queue(name: str) -> Queue:
    """Return the step queue in front of a task queue, with its arguments; its messages are due at once."""
    arguments = {
        "x-queue-type": "quorum",
        "x-message-ttl": 0,
        "x-dead-letter-exchange": DUE,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    return Queue(f"{DUE}.{name}", queue_arguments=arguments)


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


def _after_delays(name: str) -> str:
    """Return the binding key of the messages for a queue."""
    return f"{'*.' * LEVELS}{name}"


def _declare_exchange(name: str, channel: Any, arguments: Mapping[str, Any] | None = None) -> None:
    channel.exchange_declare(name, "topic", durable=True, auto_delete=False, arguments=arguments, nowait=True)


def _declare_queue(queue: Queue, channel: Any) -> None:
    channel.queue_declare(queue.name, durable=True, auto_delete=False, arguments=queue.queue_arguments, nowait=True)


def _declare_level(level: int, channel: Any) -> None:
    """Declare the queue of one level and the bindings around it; lower levels exist already."""
    queue = level_queue(level)
    name, below = queue.name, _below(level)
    words = "*." * (LEVELS - 1 - level)
    _declare_exchange(name, channel)
    _declare_queue(queue, channel)
    channel.queue_bind(name, name, f"{words}1.#", nowait=True)
    channel.exchange_bind(below, name, f"{words}0.#", nowait=True)
