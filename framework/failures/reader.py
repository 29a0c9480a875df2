"""The queue of failed tasks, in the hands of one administrator: read whole, given back as it was.

An exclusive queue is the lock: the broker frees it when its holder is gone, however it went. What was read and not
settled goes back then too, so that a reader may be killed at any moment.
"""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Self

import amqp
from amqp.exceptions import ChannelError, MessageNacked, ResourceLocked
from celery import Celery

from framework.broker.frames import tolerant_frame_handler
from framework.config import setting
from framework.errors import FailedTasksBusy, FailedTasksUnread
from framework.failures.entry import FailedMessage
from framework.failures.queue import failed_queue

__all__ = ["FailedQueue", "RetryRefused"]


#: Messages that the broker has on the way to us at any time: enough to keep it busy, and of no weight for its memory.
WINDOW = 500

#: Seconds to wait for another administrator, and between two looks whether he is done.
LOCK_TIMEOUT_SECONDS, LOCK_RETRY_SECONDS = 5.0, 0.2

#: Seconds without a message after which we look whether there are any left, and after which the broker is given up.
SILENCE_SECONDS, READ_TIMEOUT_SECONDS = 1.0, 30.0

#: Seconds that the broker may take to confirm a message.
CONFIRM_TIMEOUT_SECONDS = 15.0

#: AMQP's code for a mandatory message that no queue takes.
NO_ROUTE = 312


class RetryRefused(Exception):
    """A task was not sent again: no queue is known for it, or its queue refused it."""


def _connection(app: Celery) -> Any:
    connection: Any = app.connection_for_write(transport_options={"confirm_publish": True})
    if connection.transport.driver_type == "amqp":
        connection.transport_options["frame_handler"] = tolerant_frame_handler
    return connection


class FailedQueue:
    """Exclusive access to the queue of failed tasks, inside ``with``.

    Raises:
        FailedTasksBusy: somebody else has it, and kept it for some seconds.
        kombu.exceptions.OperationalError: the broker cannot be reached.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._name = str(setting(app, "task_failed_queue"))
        self._inbox: deque[amqp.Message] = deque()
        self._room = 0
        self._held = 0
        self._cleanup = ExitStack()
        #: How many failed tasks there were when this began.
        self.total = 0

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self._connection = undo.enter_context(_connection(self._app))
            self._connection.ensure_connection(max_retries=2, interval_start=0, interval_step=1)
            failed_queue(self._name)(self._connection.default_channel).declare()
            self._channel: Any = self._connection.channel()
            self._outgoing: Any = self._connection.channel()
            self.total = self._lock()
            self._cleanup = undo.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._cleanup:
            if exc_info[1] is not None:
                # A connection in trouble may never answer a goodbye; the broker takes back what was on it as well.
                self._connection.collect()

    def __iter__(self) -> Iterator[FailedMessage]:
        """The failed tasks that were there when this began, in the broker's order; what failed since is not touched.

        Raises:
            FailedTasksUnread: the broker has more and does not hand it over.
        """
        for left in range(self.total, 0, -1):
            if not self._inbox and self._held >= self._room:
                self._open_window(min(WINDOW, left))
            if (message := self._next()) is None:
                return
            yield FailedMessage(message)

    def settle(self, entry: FailedMessage) -> None:
        """Take an entry out of the queue, for good."""
        self._channel.basic_ack(entry.tag)
        self._held -= 1

    def send_again(self, entry: FailedMessage) -> None:
        """Publish the task to the queue that it came from; when this returns, the broker has it on disk.

        Raises:
            NotTaken: no queue is known for it, or its queue refuses it.
        """
        if not entry.queue:
            raise RetryRefused("nobody recorded which queue it came from")
        try:
            if not self._published(entry):
                self._declare(entry.queue)
                if not self._published(entry):
                    raise RetryRefused(f"there is no queue {entry.queue!r}")
        except MessageNacked:
            raise RetryRefused(f"the queue {entry.queue!r} is full") from None
        except ChannelError as exc:
            self._outgoing = self._connection.channel()
            raise RetryRefused(f"the queue {entry.queue!r} refuses it: {exc.reply_text}") from None

    def _published(self, entry: FailedMessage) -> bool:
        """Publish; false where no queue has that name."""
        body, properties = entry.to_send()
        # By the name of the queue, past all exchanges: what else is bound to them had its copy long ago.
        address = {
            "exchange": "",
            "routing_key": entry.queue,
            "mandatory": True,
            "confirm_timeout": CONFIRM_TIMEOUT_SECONDS,
        }
        try:
            self._outgoing.basic_publish(amqp.Message(body, **properties), **address)
        except ChannelError as exc:
            if exc.reply_code != NO_ROUTE:
                raise
            # The confirm that follows would be taken for the next message's.
            self._outgoing.close()
            self._outgoing = self._connection.channel()
            return False
        return True

    def _declare(self, queue: str) -> None:
        """Make a queue that has been deleted, as the application's settings describe it."""
        self._app.amqp.queues[queue](self._outgoing).declare()

    def _lock(self) -> int:
        """Keep others away; how many failed tasks there are."""
        deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
        while True:
            # Whoever consumes still has messages on its side, though it may be dead already.
            if self._has_lock() and not (found := self._ready())[1]:
                return found[0]
            if time.monotonic() > deadline:
                raise FailedTasksBusy.at(self._name)
            time.sleep(LOCK_RETRY_SECONDS)

    def _has_lock(self) -> bool:
        try:
            self._connection.default_channel.queue_declare(
                f"{self._name}.lock", exclusive=True, auto_delete=False, arguments={"x-queue-type": "classic"}
            )
        except ResourceLocked:
            return False
        return True

    def _ready(self) -> tuple[int, int]:
        """How many messages wait in the queue, and how many consumers it has."""
        found = self._channel.queue_declare(self._name, passive=True)
        return found.message_count, found.consumer_count

    def _open_window(self, size: int) -> None:
        """Have the broker hand over so many messages more than were settled."""
        self._channel.basic_qos(0, size, False)
        self._channel.basic_consume(self._name, callback=self._receive)
        self._room += size

    def _receive(self, message: amqp.Message) -> None:
        self._held += 1
        self._inbox.append(message)

    def _next(self) -> amqp.Message | None:
        """The next message; None where somebody took it from behind our back."""
        began = time.monotonic()
        while not self._inbox:
            try:
                self._connection.drain_events(timeout=SILENCE_SECONDS)
            except TimeoutError:
                if not self._ready()[0] and not self._inbox:
                    return None
                if time.monotonic() - began > READ_TIMEOUT_SECONDS:
                    raise FailedTasksUnread.of(self._name, READ_TIMEOUT_SECONDS) from None
        return self._inbox.popleft()
