"""A queue that exists with other arguments is made anew, with every message that is in it."""

import time
from collections import deque
from typing import Any

import amqp
from amqp.exceptions import PreconditionFailed, ResourceLocked
from kombu import Queue

from framework.broker.queue_diff import differences
from framework.broker.queues import RETAINING
from framework.errors import QueueInUse

__all__ = ["migrate", "migration_queue"]


#: Messages that the broker has on the way to us at any time.
WINDOW = 100

#: Seconds without a message after which a queue is looked at again, to see whether it is empty.
SILENCE_SECONDS = 0.5

#: Seconds that the broker may take to confirm a message.
CONFIRM_TIMEOUT_SECONDS = 15.0

#: Seconds to wait for what a killed migration held to come back, and between two looks.
LOCK_TIMEOUT_SECONDS, LOCK_RETRY_SECONDS = 5.0, 0.1


def migration_queue(name: str) -> str:
    """The queue that holds the messages of another one while that is made anew."""
    return f"{name}.migrating"


def migrate(connection: Any, queue: Queue) -> int:
    """Give an existing queue the arguments that ``queue`` declares; return how many messages it has then.

    All messages are moved to ``<name>.migrating``, the queue is deleted and declared anew, and they are moved back.
    Each is confirmed in its new place before it is let go of in the old one: killed at any moment and run again, this
    goes on where it ended, and at worst a message is there twice.

    Args:
        connection: One whose publishes are confirmed (the transport option ``confirm_publish``).
        queue: The queue as it is to be.

    Raises:
        QueueInUse: somebody consumes from it, or publishes to it faster than it can be emptied.
        kombu.exceptions.OperationalError: the broker cannot be reached.
    """
    connection.ensure_connection(max_retries=1, interval_start=0)
    _lock(connection, queue.name)
    return _Migration(connection, queue).run()


def _lock(connection: Any, name: str) -> None:
    # It is gone with the connection, however that ends.
    try:
        connection.channel().queue_declare(
            f"{migration_queue(name)}.lock", exclusive=True, auto_delete=False, arguments={"x-queue-type": "classic"}
        )
    except ResourceLocked:
        raise QueueInUse.named(name, "another `framework doctor --migrate`") from None


class _Migration:
    def __init__(self, connection: Any, queue: Queue) -> None:
        self._connection = connection
        self._queue = queue
        self._shelter = migration_queue(queue.name)

    def run(self) -> int:
        # Read however often, nothing in the shelter is ever given up.
        with self._connection.channel() as channel:
            channel.queue_declare(self._shelter, durable=True, auto_delete=False, arguments=dict(RETAINING))
        for _ in range(3):  # who publishes meanwhile may have made the old queue anew
            if self._is_old():
                self._move(self._queue.name, self._shelter)
                self._delete(self._queue.name)
            try:
                with self._connection.channel() as channel:
                    self._queue(channel).declare()
                break
            except PreconditionFailed:
                continue
        else:
            raise QueueInUse.named(self._queue.name, "somebody who declares it as it was")
        self._move(self._shelter, self._queue.name)
        self._delete(self._shelter)
        return self._look(self._queue.name)[0]

    def _is_old(self) -> bool:
        return bool(differences(self._connection, self._queue))

    def _look(self, name: str) -> tuple[int, int]:
        """How many messages wait in a queue, and how many consumers it has."""
        with self._connection.channel() as channel:
            found = channel.queue_declare(name, passive=True)
        return found.message_count, found.consumer_count

    def _move(self, source: str, target: str) -> None:
        self._wait_until_unused(source)
        with self._connection.channel() as incoming, self._connection.channel() as outgoing:
            inbox: deque[amqp.Message] = deque()
            incoming.basic_qos(0, WINDOW, False)
            incoming.basic_consume(source, callback=inbox.append)
            while message := self._next(inbox, source):
                outgoing.basic_publish(
                    _copy(message),
                    exchange="",
                    routing_key=target,
                    mandatory=True,
                    confirm_timeout=CONFIRM_TIMEOUT_SECONDS,
                )
                incoming.basic_ack(message.delivery_tag)

    def _next(self, inbox: "deque[amqp.Message]", source: str) -> amqp.Message | None:
        while not inbox:
            try:
                self._connection.drain_events(timeout=SILENCE_SECONDS)
            except TimeoutError:
                if not self._look(source)[0] and not inbox:
                    return None
        return inbox.popleft()

    def _wait_until_unused(self, name: str) -> None:
        """Whoever consumes still has messages on its side, though it may be dead already."""
        deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
        while self._look(name)[1]:
            if time.monotonic() > deadline:
                raise QueueInUse.named(name, "a worker")
            time.sleep(LOCK_RETRY_SECONDS)

    def _delete(self, name: str) -> None:
        """Delete a queue that is empty and unused; RabbitMQ cannot be asked for both in one for a quorum queue."""
        self._wait_until_unused(name)
        if self._look(name)[0]:
            raise QueueInUse.named(name, "somebody who publishes to it")
        with self._connection.channel() as channel:
            channel.queue_delete(name)


def _copy(message: amqp.Message) -> amqp.Message:
    """The message as it came, without what would have it refused, or copied to other queues."""
    properties = {name: value for name, value in message.properties.items() if name != "user_id"}
    headers = properties.get("application_headers")
    if headers:
        properties["application_headers"] = {name: value for name, value in headers.items() if name != "CC"}
    return amqp.Message(message.body, **{**properties, "delivery_mode": 2})
