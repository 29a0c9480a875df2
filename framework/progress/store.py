"""Stores the last value of each key on the broker and delivers every new value to the watchers of the key.

A process publishes a value to one exchange, with the key as routing key. The queue of the key holds the last value
(``x-max-length=1``) and expires some time after it was last declared, read or finalized, but not published to: the
process that runs a task declares it again from time to time. A watcher binds its queue to the keys that it watches.

`finalize` unbinds the queue of a key before it stores the final value: a process that does not know of the end and
publishes later does not replace it.
"""

import json
import time
from contextlib import suppress
from hashlib import blake2b
from typing import Any

import amqp
from amqp.exceptions import NotFound
from celery.utils.log import get_logger

from framework.broker.queues import milliseconds
from framework.config import setting
from framework.errors import describe
from framework.progress.state import State

__all__ = [
    "StateStore",
    "ValueInUse",
    "bind",
    "bind_watch_queue",
    "declare_exchange",
    "declare_value",
    "declare_watch_queue",
    "decoded",
    "delete",
    "encoded",
    "exists",
    "finalize",
    "peek",
    "publish",
    "read",
    "replace",
    "reserve",
    "unbind_watch_queue",
]

log = get_logger(__name__)

# Not a topic exchange: an id that contains a wildcard would receive every state.
EXCHANGE = "task.state"

#: A longer key is replaced by its hash: RabbitMQ's names have 255 bytes at most.
MAX_KEY_LENGTH = 60

#: States that wait for a busy watcher before the broker drops the oldest.
MAX_WATCHER_BACKLOG = 10_000

#: Seconds between two reads of a value that another reader holds.
RETRY_DELAY_SECONDS = 0.005

#: Seconds that the broker may take to answer.
TIMEOUT_SECONDS = 3.0

#: The expiry of a running task's state is restarted so many times in ``task_state_expires`` seconds.
RENEWALS = 5


class ValueInUse(Exception):
    """Another reader holds the value, or the first one has not arrived yet."""


def declare_exchange(channel: Any) -> None:
    """Declare the exchange of all values; once per channel is enough."""
    channel.exchange_declare(EXCHANGE, "direct", durable=True, auto_delete=False)


def reserve(channel: Any, limit: int, seconds: float) -> bool:
    """Reserve room for one more key, and return False where ``limit`` keys were reserved in the last ``seconds``."""
    ttl = milliseconds(seconds)
    # Other settings have a queue of their own: a queue's arguments cannot be changed.
    name = f"{EXCHANGE}s.{limit}.{ttl}"
    arguments = {
        "x-queue-type": "classic",
        "x-max-length": limit,
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
    """Return whether ``key`` has a queue, and restart its expiry; without one, the broker closes the channel."""
    try:
        channel.queue_declare(_queue(key), passive=True)
    except NotFound:
        return False
    return True


def declare_value(channel: Any, key: str, seconds: float) -> None:
    """Declare the queue for the last value of ``key``; it expires after ``seconds`` without use."""
    arguments = {
        "x-queue-type": "classic",
        "x-max-length": 1,
        "x-overflow": "drop-head",
        "x-expires": milliseconds(seconds),
    }
    channel.queue_declare(_queue(key), durable=True, auto_delete=False, arguments=arguments)


def replace(channel: Any, key: str, body: bytes) -> None:
    """Replace the stored value of ``key`` without publishing it to the watchers."""
    channel.basic_publish(_message(body), exchange="", routing_key=_queue(key))


def bind(channel: Any, key: str) -> None:
    """Bind the queue of ``key`` to the exchange: each published value replaces the stored one."""
    channel.queue_bind(_queue(key), EXCHANGE, _routing_key(key))


def publish(channel: Any, key: str, body: bytes) -> None:
    """Publish a value to the watchers of ``key``, and to its queue where that is bound."""
    channel.basic_publish(_message(body), exchange=EXCHANGE, routing_key=_routing_key(key))


def finalize(channel: Any, key: str, body: bytes) -> None:
    """Store and publish the final value of ``key``; values published later do not replace it."""
    channel.queue_unbind(_queue(key), EXCHANGE, _routing_key(key))
    # Stored before it is published: a watcher that binds its queue between the two reads the stored value.
    replace(channel, key, body)
    publish(channel, key, body)


def delete(channel: Any, key: str) -> None:
    """Delete the stored value of ``key``."""
    channel.queue_delete(_queue(key))


def peek(channel: Any, key: str) -> bytes | None:
    """Return the last value of ``key`` and leave it there; None where none is stored (the broker closes the channel).

    Raises:
        ValueInUse: another reader holds the value; read it again some milliseconds later.
    """
    try:
        message = channel.basic_get(_queue(key))
    except NotFound:
        return None
    if message is None:
        raise ValueInUse
    # The value returns to the head of the queue; a newer one that has arrived since drops it.
    channel.basic_reject(message.delivery_tag, requeue=True)
    body = message.body
    return body.encode() if isinstance(body, str) else bytes(body)


def read(channel: Any, key: str, *, timeout: float) -> bytes | None:
    """Return the last value of ``key``, retrying for ``timeout`` seconds while another reader holds it.

    None where none is stored (the broker closes the channel), or where it could not be read in time.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return peek(channel, key)
        except ValueInUse:
            if time.monotonic() > deadline:
                return None
        time.sleep(RETRY_DELAY_SECONDS)


def declare_watch_queue(channel: Any) -> str:
    """Declare an exclusive queue for the values that this connection watches, and return its name."""
    arguments = {"x-queue-type": "classic", "x-max-length": MAX_WATCHER_BACKLOG}
    return str(channel.queue_declare("", exclusive=True, auto_delete=True, arguments=arguments).queue)


def bind_watch_queue(channel: Any, queue: str, key: str) -> None:
    """Deliver the values of ``key`` to a queue made by `declare_watch_queue`."""
    channel.queue_bind(queue, EXCHANGE, _routing_key(key))


def unbind_watch_queue(channel: Any, queue: str, key: str) -> None:
    """Stop delivering the values of ``key`` to that queue."""
    channel.queue_unbind(queue, EXCHANGE, _routing_key(key))


def _message(body: bytes) -> amqp.Message:
    return amqp.Message(body, content_type="application/json", delivery_mode=2)


def _queue(key: str) -> str:
    return f"{EXCHANGE}.{_routing_key(key)}"


def _routing_key(key: str) -> str:
    return key if len(key) <= MAX_KEY_LENGTH and key.isascii() else blake2b(key.encode(), digest_size=20).hexdigest()


class StateStore:
    """The last states of tasks, over one connection that is opened when it is needed."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._connection: Any = None
        self._channel: Any = None
        self.expires_seconds = float(setting(app, "task_state_expires"))
        #: Seconds between two renewals; a state expires so many seconds later, since the last renewal may be that old.
        self.renewal_seconds = self.expires_seconds / RENEWALS
        self.max_tasks = int(setting(app, "task_state_max"))

    @property
    def channel(self) -> Any:
        """A channel on which each publish is confirmed."""
        if self._connection is None:
            self._connect()
        if self._channel is None:
            self._channel = self._connection.channel()
            declare_exchange(self._channel)
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

    def reset_channel(self) -> None:
        """Close the channel, which the broker may have closed already; the next use opens another."""
        channel, self._channel = self._channel, None
        if channel is not None:
            with suppress(Exception):  # the connection may be in any condition
                channel.close()

    def discard_connection(self) -> None:
        """Discard a connection that cannot be used, without talking to the broker."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            connection.collect()

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with suppress(Exception):  # the connection may be in any condition
                connection.close()

    def exists(self, task_id: str) -> bool:
        """Return whether a state of the task is stored, and restart its expiry."""
        if exists(self.channel, task_id):
            return True
        self.reset_channel()
        return False

    def last_state(self, task_id: str) -> State | None:
        """Return the last state of the task; None where none is stored, or it cannot be read within a second."""
        body = read(self.channel, task_id, timeout=1.0)
        if body is None:
            self.reset_channel()
            return None
        return decoded(body)

    def reserve(self, task_id: str) -> bool:
        """Declare the queue for the states of the task; return False where too many tasks have one."""
        if not reserve(self.channel, self.max_tasks, self.expires_seconds):
            return False
        declare_value(self.channel, task_id, self.expires_seconds + self.renewal_seconds)
        return True


def encoded(state: State) -> bytes:
    """Return a state as JSON, the body of its message."""
    return json.dumps(state.as_dict(), separators=(",", ":"), ensure_ascii=False).encode(errors="replace")


def decoded(body: bytes | str) -> State | None:
    """Return the state in the body of a message; None where it is no state, which is logged."""
    try:
        return State.from_dict(json.loads(body))
    except Exception as exc:  # any program may publish to the exchange
        log.warning("The broker has a state of a task that cannot be read: %s", describe(exc))
        return None
