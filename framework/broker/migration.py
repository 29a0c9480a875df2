"""Recreates a queue that exists with other arguments, with all its messages."""

import time
from contextlib import closing
from typing import Any

import amqp
from amqp.exceptions import PreconditionFailed
from kombu import Queue

from framework.broker.delays import bind_due, delays_in_use, unbind_due
from framework.broker.exclusive_reader import ExclusiveReader, lock, queue_counts, wait_until_unused
from framework.broker.queue_diff import differences
from framework.broker.queues import RETAINING
from framework.errors import QueueInUse

__all__ = ["migrate", "migration_queue"]


#: Messages that the broker delivers before the first is acknowledged.
WINDOW = 100

#: Seconds without a message after which the source is checked for more.
SILENCE_SECONDS = 0.5

#: Seconds that the broker may take to confirm a message.
CONFIRM_TIMEOUT_SECONDS = 15.0

#: Seconds to wait until the messages of a killed migration are requeued.
UNUSED_TIMEOUT_SECONDS = 5.0


def migration_queue(name: str) -> str:
    """Return the name of the queue that holds a queue's messages during its migration."""
    return f"{name}.migrating"


def migrate(connection: Any, queue: Queue) -> int:
    """Give an existing queue the arguments that ``queue`` declares; return how many messages it has then.

    All messages are moved to ``<name>.migrating``, the queue is deleted and declared again, and they are moved back.
    Each message is confirmed in its new queue before it is acknowledged in the old one: a migration that is killed can
    be run again and resumes; at worst a message is there twice.

    Args:
        connection: One whose publishes are confirmed (the transport option ``confirm_publish``).
        queue: The queue with its new arguments.

    Raises:
        QueueInUse: it has consumers, or is published to faster than it can be emptied.
        kombu.exceptions.OperationalError: the broker cannot be reached.
    """
    connection.ensure_connection(max_retries=1, interval_start=0)
    if not lock(connection.channel(), f"{migration_queue(queue.name)}.lock"):
        raise QueueInUse.named(queue.name, "another `framework doctor --migrate`")
    return _Migration(connection, queue).run()


class _Migration:
    def __init__(self, connection: Any, queue: Queue) -> None:
        self._connection = connection
        self._queue = queue
        self._buffer = migration_queue(queue.name)

    def run(self) -> int:
        with self._connection.channel() as channel:
            channel.queue_declare(self._buffer, durable=True, auto_delete=False, arguments=dict(RETAINING))
        for _ in range(3):  # a publisher may have declared the old queue again meanwhile
            if self._is_old():
                self._move(self._queue.name, self._buffer)
                self._divert_delayed()
                self._delete(self._queue.name)
            try:
                with self._connection.channel() as channel:
                    self._queue(channel).declare()
                self._return_delayed()
                break
            except PreconditionFailed:
                continue
        else:
            raise QueueInUse.named(self._queue.name, "a program that declares it with the old arguments")
        self._move(self._buffer, self._queue.name)
        self._delete(self._buffer)
        with self._connection.channel() as channel:
            return queue_counts(channel, self._queue.name).ready

    def _divert_delayed(self) -> None:
        """Have tasks that become due while there is no queue delivered to the migration's."""
        if delays_in_use(self._connection):
            with self._connection.channel() as channel:
                bind_due(self._queue.name, self._buffer, channel)

    def _return_delayed(self) -> None:
        if delays_in_use(self._connection):
            with self._connection.channel() as channel:
                bind_due(self._queue.name, self._queue.name, channel)
                unbind_due(self._queue.name, self._buffer, channel)

    def _is_old(self) -> bool:
        return bool(differences(self._connection, self._queue))

    def _move(self, source: str, target: str) -> None:
        self._wait_until_unused(source)
        reading = closing(ExclusiveReader(self._connection, source, silence=SILENCE_SECONDS))
        with reading as reader, self._connection.channel() as outgoing:
            reader.open_window(WINDOW)
            while message := reader.read():
                outgoing.basic_publish(
                    _copy(message),
                    exchange="",
                    routing_key=target,
                    mandatory=True,
                    confirm_timeout=CONFIRM_TIMEOUT_SECONDS,
                )
                reader.acknowledge(message)

    def _wait_until_unused(self, name: str) -> None:
        with self._connection.channel() as channel:
            if wait_until_unused(channel, name, time.monotonic() + UNUSED_TIMEOUT_SECONDS) is None:
                raise QueueInUse.named(name, "a worker")

    def _delete(self, name: str) -> None:
        """Delete a queue that is empty and unused; for a quorum queue, RabbitMQ does not check both itself."""
        self._wait_until_unused(name)
        with self._connection.channel() as channel:
            if queue_counts(channel, name).ready:
                raise QueueInUse.named(name, "a program that publishes to it")
            channel.queue_delete(name)


def _copy(message: amqp.Message) -> amqp.Message:
    """Return the message without the properties that would have it refused, or copied to other queues."""
    properties = {name: value for name, value in message.properties.items() if name != "user_id"}
    headers = properties.get("application_headers")
    if headers:
        properties["application_headers"] = {name: value for name, value in headers.items() if name != "CC"}
    return amqp.Message(message.body, **{**properties, "delivery_mode": 2})
