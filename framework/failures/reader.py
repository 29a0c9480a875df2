"""Exclusive access to the failed-task queue: reads its messages, and retries or removes single ones.

An exclusive queue is the lock, which the broker deletes with the reader's connection. Messages that were read and not
removed are requeued then too, so a reader can be killed at any time.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Self

import amqp
from amqp.exceptions import ChannelError, MessageNacked
from celery import Celery

from framework.broker.amqp_codes import NO_ROUTE
from framework.broker.deadline import Deadline
from framework.broker.exclusive_reader import DeliveryTimeout, ExclusiveReader, lock, wait_until_unused
from framework.broker.frames import tolerate_unreadable
from framework.broker.request import converting_lost_broker, within_call
from framework.broker.url import sanitized
from framework.config import setting
from framework.errors import FailedTasksBusy, FailedTasksUnread, NotConfirmed
from framework.failures.entry import FailedMessage
from framework.failures.queue import failed_queue

__all__ = ["FailedQueue", "RetryRefused"]


#: Messages that the broker may deliver ahead, and bytes of their bodies: enough to keep it busy, and few in its memory.
#: A window has twice the messages of the one before, at most.
WINDOW, WINDOW_BYTES = 500, 16 << 20

#: Seconds to wait for another reader.
LOCK_TIMEOUT_SECONDS = 5.0

#: Seconds without a message after which the queue is checked for more, and after which reading fails.
SILENCE_SECONDS, READ_TIMEOUT_SECONDS = 1.0, 30.0


class RetryRefused(Exception):
    """A task was not retried: its queue is unknown or refused it."""


class FailedQueue:
    """Exclusive access to the failed-task queue, inside ``with``.

    Raises:
        FailedTasksBusy: another reader has it for more than `LOCK_TIMEOUT_SECONDS`.
        BrokerUnreachable: from any method; the broker does not answer within ``task_publish_timeout``.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._name = str(setting(app, "task_failed_queue"))
        self._timeout = float(setting(app, "task_publish_timeout"))
        self._cleanup = ExitStack()
        #: How many failed tasks there were at the start.
        self.total = 0

    def __enter__(self) -> Self:
        with within_call(self._app):
            self._open()
        return self

    def _open(self) -> None:
        connection: Any = self._app.connection_for_write(transport_options={"confirm_publish": True})
        tolerate_unreadable(connection)
        with ExitStack() as undo:
            self._connection = undo.enter_context(connection)
            self._connection.ensure_connection(max_retries=2, interval_start=0, interval_step=1)
            failed_queue(self._name)(self._connection.default_channel).declare()
            self._reader = ExclusiveReader(self._connection, self._name, silence=SILENCE_SECONDS)
            self._outgoing: Any = self._connection.channel()
            self.total = self._lock()
            self._cleanup = undo.pop_all()

    def __exit__(self, *exc_info: object) -> None:
        with Deadline.within(self._timeout), self._cleanup:
            if exc_info[1] is not None:
                # A connection with an error may never answer a close; the broker requeues its messages as well.
                self._connection.collect()
            else:
                with converting_lost_broker(self._app):
                    self._reader.wait_until_removed()

    def __iter__(self) -> Iterator[FailedMessage]:
        """Yield the failed tasks of the start, in the broker's order; later ones are not read.

        Raises:
            FailedTasksUnread: the broker has more and does not deliver them.
        """
        size, largest = 1, 1
        for left in range(self.total, 0, -1):
            window = 0
            if self._reader.full:
                window, size = min(size, left), min(size * 2, WINDOW, max(WINDOW_BYTES // largest, 1))
            message = self._next(window)
            if message is None:  # another client has taken messages in spite of the lock
                return
            largest = max(largest, len(message.body or b""))
            yield FailedMessage(message)

    def _next(self, window: int) -> amqp.Message | None:
        # Not the bound of a call: the broker may take its time with the first message.
        with Deadline.within(READ_TIMEOUT_SECONDS + self._timeout), converting_lost_broker(self._app):
            if window:
                self._reader.open_window(window)
            try:
                return self._reader.read(READ_TIMEOUT_SECONDS)
            except DeliveryTimeout:
                raise FailedTasksUnread.of(self._name, READ_TIMEOUT_SECONDS) from None

    def remove(self, entry: FailedMessage) -> None:
        """Remove a failed task from the queue."""
        with within_call(self._app):
            self._reader.acknowledge(entry.message)

    def retry(self, entry: FailedMessage) -> None:
        """Publish the task to the queue that it came from; when this returns, the broker has it on disk.

        Raises:
            RetryRefused: its queue is unknown, or refuses it.
            NotConfirmed: the broker did not confirm it in time; it stays, and may be queued too.
        """
        if not entry.queue:
            raise RetryRefused("the queue that it came from is not recorded")
        with within_call(self._app):
            self._retry(entry)

    def _retry(self, entry: FailedMessage) -> None:
        try:
            if not self._published(entry):
                self._declare(entry.queue)
                if not self._published(entry):
                    raise RetryRefused(f"there is no queue {entry.queue!r}")
        except MessageNacked:
            raise RetryRefused(f"the queue {entry.queue!r} is full, or its leader is not there yet") from None
        except ChannelError as exc:
            self._outgoing = self._connection.channel()
            raise RetryRefused(f"the queue {entry.queue!r} refuses it: {exc.reply_text}") from None

    def _published(self, entry: FailedMessage) -> bool:
        """Publish the task; return False if its queue does not exist."""
        body, properties = entry.to_send()
        # By the name of the queue, past all exchanges: their other queues received their copies long ago.
        address = {
            "exchange": "",
            "routing_key": entry.queue,
            "mandatory": True,
            "confirm_timeout": self._timeout,
        }
        try:
            self._outgoing.basic_publish(amqp.Message(body, **properties), **address)
        except OSError as exc:
            raise NotConfirmed.by(sanitized(self._app.conf.broker_write_url), exc, entry.id) from None
        except ChannelError as exc:
            if exc.reply_code != NO_ROUTE:
                raise
            # The confirm that follows would be taken for the next message's.
            self._outgoing.close()
            self._outgoing = self._connection.channel()
            return False
        return True

    def _declare(self, queue: str) -> None:
        """Declare a deleted queue again, as the application's settings describe it."""
        self._app.amqp.queues[queue](self._outgoing).declare()

    def _lock(self) -> int:
        """Lock the queue, and wait until it has no consumers; return how many failed tasks there are."""
        deadline = time.monotonic() + min(LOCK_TIMEOUT_SECONDS, self._timeout / 2)
        if lock(self._connection.default_channel, f"{self._name}.lock", deadline):
            counts = wait_until_unused(self._reader.channel, self._name, deadline)
            if counts is not None:
                return counts.ready
        raise FailedTasksBusy.at(self._name)
