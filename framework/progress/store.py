"""The last value of a key, kept by the broker, and each new one passed on to those who listen.

A value is published to one exchange under its key. The key's own queue holds the last one alone (a newer drops it) and
goes away some time after it was last made, looked at or concluded. Whoever listens binds a queue to the keys it wants.

A concluded key keeps its value: its queue is taken off the exchange first, so that whatever a process that does not
know of the end publishes later reaches nobody who looks, whenever it comes.
"""

import json
import time
from contextlib import suppress
from hashlib import blake2b
from typing import Any

import amqp
from amqp.exceptions import AMQPError, NotFound
from kombu.exceptions import OperationalError

from framework.broker.queues import milliseconds
from framework.config import setting
from framework.progress.state import State

__all__ = [
    "StateStore",
    "ValueInUse",
    "add",
    "attach",
    "conclude",
    "encoded",
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
LONGEST_KEY = 60

#: Updates that wait for one who listens and is busy, before the oldest are dropped.
WATCHER_BACKLOG = 10_000

#: Seconds until a value is looked at again that another reader holds.
RETRY_DELAY_SECONDS = 0.005

#: Seconds that the broker may take to answer.
TIMEOUT_SECONDS = 3.0


class ValueInUse(Exception):
    """Somebody is looking at the value at this very moment, or the first one is on its way."""


def ready(channel: Any) -> None:
    """Declare the exchange, once for a channel."""
    channel.exchange_declare(EXCHANGE, "direct", durable=True, auto_delete=False)


def take_place(channel: Any, most: int, seconds: float) -> bool:
    """Whether there is room for one key more, of ``most`` that are kept for ``seconds`` each; its place is taken."""
    ttl = milliseconds(seconds)
    name = f"{EXCHANGE}s.{most}.{ttl}"  # other settings count anew: a queue's arguments cannot be changed
    arguments = {
        "x-queue-type": "classic",
        "x-max-length": most,
        "x-overflow": "reject-publish",
        "x-message-ttl": ttl,
        "x-expires": 2 * ttl,
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
        "x-expires": milliseconds(seconds),
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


def read(channel: Any, key: str, *, timeout: float) -> bytes | None:
    """Return the last value of ``key``, waiting ``timeout`` seconds at most while others look at it.

    None where none is kept (the channel is closed then), or where it could not be seen in time.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return look(channel, key)
        except ValueInUse:
            if time.monotonic() > deadline:
                return None
        time.sleep(RETRY_DELAY_SECONDS)


def listen(channel: Any) -> str:
    """A queue of this connection's own for new values; its name."""
    arguments = {"x-queue-type": "classic", "x-max-length": WATCHER_BACKLOG}
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
    return key if len(key) <= LONGEST_KEY and key.isascii() else blake2b(key.encode(), digest_size=20).hexdigest()


class StateStore:
    """The connection of the thread, and a channel of it that is always usable."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._connection: Any = None
        self._channel: Any = None
        self.kept_for = float(setting(app, "task_state_expires"))
        self.most = int(setting(app, "task_state_max"))

    @property
    def channel(self) -> Any:
        """A channel on which each publish is confirmed."""
        if self._connection is None:
            self._connect()
        if self._channel is None:
            self._channel = self._connection.channel()
            ready(self._channel)
        return self._channel

    def _connect(self) -> None:
        limits = {"read_timeout": TIMEOUT_SECONDS, "write_timeout": TIMEOUT_SECONDS, "confirm_publish": True}
        connection = self._app.connection_for_write(connect_timeout=TIMEOUT_SECONDS, transport_options=limits)
        try:
            connection.connect()
        except BaseException:
            connection.collect()
            raise
        self._connection = connection

    def renew(self) -> None:
        """Have another channel: the broker closed this one, and what it was confirming is forgotten."""
        channel, self._channel = self._channel, None
        with suppress(AMQPError, OSError):
            channel.close()

    def drop(self) -> None:
        """Let go of a connection that cannot be used."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            connection.collect()

    def close(self) -> None:
        """End the connection."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with suppress(AMQPError, OSError, OperationalError):
                connection.close()

    def exists(self, key: str) -> bool:
        """Whether a value of ``key`` is kept; it will be for longer then."""
        if exists(self.channel, key):
            return True
        self.renew()
        return False

    def look(self, key: str) -> State | None:
        """Return the last state of ``key``; None where none is kept, or others read it for more than a second."""
        body = read(self.channel, key, timeout=1.0)
        if body is None:
            self.renew()
            return None
        return State.from_dict(json.loads(body))

    def make(self, key: str) -> bool:
        """Make the place where states of ``key`` are kept; False where too many tasks have one."""
        if not take_place(self.channel, self.most, self.kept_for):
            return False
        keep(self.channel, key, self.kept_for)
        return True


def encoded(state: State) -> bytes:
    """A state as it is sent."""
    return json.dumps(state.as_dict(), separators=(",", ":"), ensure_ascii=False).encode(errors="replace")
