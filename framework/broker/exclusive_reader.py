"""Locks a queue by an exclusive queue, counts its messages, and reads it with few unacknowledged messages."""

import time
from collections import deque
from math import inf
from typing import Any, NamedTuple

import amqp
from amqp.exceptions import ResourceLocked

__all__ = ["Counts", "DeliveryTimeout", "ExclusiveReader", "lock", "queue_counts", "wait_until_unused"]

#: Seconds between two attempts to lock a queue, and between two checks whether it has consumers.
RETRY_DELAY_SECONDS = 0.1


class DeliveryTimeout(Exception):
    """The broker has ready messages in a queue and delivers none."""


class Counts(NamedTuple):
    """How many ready messages and how many consumers a queue has."""

    ready: int
    consumers: int


def lock(channel: Any, name: str, deadline: float = 0.0) -> bool:
    """Declare the exclusive queue ``name``, which the broker deletes with the connection, however that ends.

    Return whether this connection has it. Where another one has, retry until ``deadline``, a time of
    `time.monotonic`.
    """
    while not _has_lock(channel, name):
        if time.monotonic() > deadline:
            return False
        time.sleep(RETRY_DELAY_SECONDS)
    return True


def _has_lock(channel: Any, name: str) -> bool:
    try:
        channel.queue_declare(name, exclusive=True, auto_delete=False, arguments={"x-queue-type": "classic"})
    except ResourceLocked:
        return False
    return True


def queue_counts(channel: Any, name: str) -> Counts:
    """Return how many ready messages and consumers a queue has.

    Raises:
        amqp.exceptions.NotFound: there is no such queue.
    """
    found = channel.queue_declare(name, passive=True)
    return Counts(found.message_count, found.consumer_count)


def wait_until_unused(channel: Any, name: str, deadline: float) -> Counts | None:
    """Wait until a queue has no consumers, and return its counts; return None if it still has some at ``deadline``.

    A consumer whose process has died counts until the broker notices it; its messages are not ready until then.
    """
    while (counts := queue_counts(channel, name)).consumers:
        if time.monotonic() > deadline:
            return None
        time.sleep(RETRY_DELAY_SECONDS)
    return counts


class ExclusiveReader:
    """Consumes a queue window by window; messages that were not acknowledged are requeued when it is closed.

    Args:
        connection: kombu's, open.
        queue: the queue's name.
        silence: seconds without a message after which the queue is checked for ready ones.
    """

    def __init__(self, connection: Any, queue: str, *, silence: float) -> None:
        self.channel: Any = connection.channel()
        self._connection = connection
        self._queue = queue
        self._silence = silence
        self._inbox: deque[amqp.Message] = deque()
        self._limit = 0
        self._unacked = 0
        self._consumer = ""
        self._has_acknowledged = False

    @property
    def full(self) -> bool:
        """Whether the broker delivers no more until a message is acknowledged or another window is opened."""
        return not self._inbox and self._unacked >= self._limit

    def open_window(self, size: int) -> None:
        """Let the broker deliver ``size`` unacknowledged messages more."""
        self.channel.basic_qos(0, size, False)
        self._consumer = self.channel.basic_consume(self._queue, callback=self._receive)
        self._limit += size

    def _receive(self, message: amqp.Message) -> None:
        self._unacked += 1
        self._inbox.append(message)

    def read(self, timeout: float = inf) -> amqp.Message | None:
        """Return the next message, or None once the queue has none that are ready.

        Raises:
            DeliveryTimeout: the queue has ready messages, and none came in ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while not self._inbox:
            try:
                self._connection.drain_events(timeout=self._silence)
            except TimeoutError:
                if not queue_counts(self.channel, self._queue).ready and not self._inbox:
                    return None
                if time.monotonic() > deadline:
                    raise DeliveryTimeout from None
        return self._inbox.popleft()

    def acknowledge(self, message: amqp.Message) -> None:
        """Remove a message from the queue."""
        self.channel.basic_ack(message.delivery_tag)
        self._unacked -= 1
        self._has_acknowledged = True

    def wait_until_removed(self) -> None:
        """Wait until the broker has removed the acknowledged messages, which an acknowledgement alone does not."""
        if self._has_acknowledged:
            self.channel.basic_cancel(self._consumer)  # a quorum queue answers it after all that it was sent before

    def close(self) -> None:
        """Close the channel."""
        self.channel.close()
