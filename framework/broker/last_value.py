"""The last value of a key, kept by the broker, and each new one passed on to those who listen.

A value is published to one exchange under its key. The key's own queue holds the last one alone (a newer drops it) and
goes away some time after it was last made, looked at or concluded. Whoever listens binds a queue to the keys it wants.

A concluded key keeps its value: its queue is taken off the exchange first, so that whatever a process that does not
know of the end publishes later reaches nobody who looks, whenever it comes.
"""

from hashlib import blake2b
from typing import Any

import amqp
from amqp.exceptions import NotFound

__all__ = [
    "ValueInUse",
    "add",
    "attach",
    "conclude",
    "exists",
    "forget",
    "keep",
    "listen",
    "look",
    "publish",
    "put",
    "ready",
    "remove",
    "take_place",
]

# Not a topic exchange: an id with a wildcard in it would be told of everything.
EXCHANGE = "task.state"

#: Characters of the longest key that is used as it is; RabbitMQ's names end at 255 bytes.
LONGEST = 60

#: Updates that wait for one who listens and is busy, before the oldest are dropped.
BACKLOG = 10_000


class ValueInUse(Exception):
    """Somebody is looking at the value at this very moment, or the first one is on its way."""


def ready(channel: Any) -> None:
    """Declare the exchange, once for a channel."""
    channel.exchange_declare(EXCHANGE, "direct", durable=True, auto_delete=False)


def take_place(channel: Any, most: int, seconds: float) -> bool:
    """Whether there is room for one key more, of ``most`` that are kept for ``seconds`` each; its place is taken."""
    milliseconds = _milliseconds(seconds)
    name = f"{EXCHANGE}s.{most}.{milliseconds}"  # other settings count anew: a queue's arguments cannot be changed
    arguments = {
        "x-queue-type": "classic",
        "x-max-length": most,
        "x-overflow": "reject-publish",
        "x-message-ttl": milliseconds,
        "x-expires": 2 * milliseconds,
    }
    channel.queue_declare(name, durable=True, auto_delete=False, arguments=arguments)
    try:
        channel.basic_publish(amqp.Message(b""), exchange="", routing_key=name)
    except amqp.exceptions.MessageNacked:
        return False
    return True


def exists(channel: Any, key: str) -> bool:
    """Whether a value of ``key`` is kept; it will be for longer then. Where it is not, the channel is closed."""
    try:
        channel.queue_declare(_queue(key), passive=True)
    except NotFound:
        return False
    return True


def keep(channel: Any, key: str, seconds: float) -> None:
    """Make the place for the last value of ``key``, until nothing was heard of it for so many ``seconds``."""
    arguments = {
        "x-queue-type": "classic",
        "x-max-length": 1,
        "x-overflow": "drop-head",
        "x-expires": _milliseconds(seconds),
    }
    channel.queue_declare(_queue(key), durable=True, auto_delete=False, arguments=arguments)


def put(channel: Any, key: str, body: bytes) -> None:
    """Replace the value of ``key``, whoever else publishes; nobody is told."""
    channel.basic_publish(_message(body), exchange="", routing_key=_queue(key))


def attach(channel: Any, key: str) -> None:
    """From now on, what is published replaces the value."""
    channel.queue_bind(_queue(key), EXCHANGE, _short(key))


def publish(channel: Any, key: str, body: bytes) -> None:
    """Replace the value of ``key``, where it is kept and attached, and tell those who listen."""
    channel.basic_publish(_message(body), exchange=EXCHANGE, routing_key=_short(key))


def conclude(channel: Any, key: str, body: bytes) -> None:
    """Publish the last value that ``key`` will ever have."""
    channel.queue_unbind(_queue(key), EXCHANGE, _short(key))
    put(channel, key, body)
    # In this order: who begins to listen between the two finds it when it looks.
    publish(channel, key, body)


def forget(channel: Any, key: str) -> None:
    """Keep no value of ``key``."""
    channel.queue_delete(_queue(key))


def look(channel: Any, key: str) -> bytes | None:
    """The last value of ``key``, which stays; None where none is kept, and the channel is closed then.

    Raises:
        ValueInUse: there is one, and it cannot be seen right now: look again in some milliseconds.
    """
    try:
        message = channel.basic_get(_queue(key))
    except NotFound:
        return None
    if message is None:
        raise ValueInUse
    # A newer value that came meanwhile drops this one, which goes back to the head.
    channel.basic_reject(message.delivery_tag, requeue=True)
    body = message.body
    return body.encode() if isinstance(body, str) else bytes(body)


def listen(channel: Any) -> str:
    """A queue of this connection's own for new values; its name."""
    arguments = {"x-queue-type": "classic", "x-max-length": BACKLOG}
    return str(channel.queue_declare("", exclusive=True, auto_delete=True, arguments=arguments).queue)


def add(channel: Any, queue: str, key: str) -> None:
    """Have the values of ``key`` put into a queue that `listen` made."""
    channel.queue_bind(queue, EXCHANGE, _short(key))


def remove(channel: Any, queue: str, key: str) -> None:
    """Have them put there no more."""
    channel.queue_unbind(queue, EXCHANGE, _short(key))


def _message(body: bytes) -> amqp.Message:
    return amqp.Message(body, content_type="application/json", delivery_mode=2)


def _queue(key: str) -> str:
    return f"{EXCHANGE}.{_short(key)}"


def _short(key: str) -> str:
    return key if len(key) <= LONGEST and key.isascii() else blake2b(key.encode(), digest_size=20).hexdigest()


def _milliseconds(seconds: float) -> int:
    return max(int(seconds * 1000), 1)
