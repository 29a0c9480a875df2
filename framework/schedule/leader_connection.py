"""A scheduler's one connection: its place in the line, and the only way by which it publishes.

Whoever lost its place lost this connection too, so it cannot publish any more: nothing here connects again, and nothing
is tried twice. What is due is published on the channel that consumes: the broker passes on all that was published on a
channel before it takes the channel's consumer for gone, so the next leader knows of it.
"""

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any
from uuid import uuid4

import amqp
from amqp.exceptions import AMQPError, MessageNacked
from celery import Celery
from kombu.exceptions import OperationalError

from framework.broker.frames import tolerate_unreadable
from framework.config import setting
from framework.errors import BrokerError
from framework.schedule.messages import Record, message, queue_name, record_of, state_queue

__all__ = ["HEARTBEAT_SECONDS", "LeaderConnection", "LeadershipLost"]


#: Seconds between two signs of life. The broker gives up who gave none in two to three of these.
HEARTBEAT_SECONDS = 6

#: Seconds that pass at the most between two looks at the clock and at the signs of life.
IDLE_SECONDS = HEARTBEAT_SECONDS / 4


class LeadershipLost(Exception):
    """The connection is of no use any more; whoever had it is no leader."""


class LeaderConnection:
    """A place in the line of the state queue, from now until the connection is lost.

    Raises:
        LockLost: from any method; then it is time for another `Lock`.
    """

    def __init__(self, app: Celery) -> None:
        self.queue = queue_name(app)
        self.confirm = float(setting(app, "task_publish_timeout"))
        self._inbox: deque[amqp.Message] = deque()
        self._cancelled = False
        self._connection: Any = None
        self._looked = monotonic()
        options = {"confirm_publish": True, "read_timeout": self.confirm, "write_timeout": self.confirm}
        self.client: Any = app.connection_for_write(heartbeat=HEARTBEAT_SECONDS, transport_options=options)
        tolerate_unreadable(self.client)
        try:
            with self.losing():
                self._open()
        except BaseException:
            self.abandon()  # else it would stay in the line, and never answer
            raise

    def _open(self) -> None:
        self.client.connect()
        self._connection = self.client.connection
        #: The channel that consumes, by which what is due is published too.
        self.line = self.channel()
        state_queue(self.queue)(self.line).declare()
        self.line.basic_qos(0, 0, False)
        self.line.basic_consume(self.queue, callback=self._inbox.append, on_cancel=self._cancel)

    def _cancel(self, _tag: str) -> None:
        self._cancelled = True

    @contextmanager
    def losing(self) -> Iterator[None]:
        """Whatever goes wrong with the broker in here is the loss of the lock.

        Raises:
            LockLost: something did.
        """
        try:
            yield
        except (AMQPError, BrokerError, MessageNacked, OperationalError, OSError) as exc:
            raise LeadershipLost(str(exc) or type(exc).__name__) from exc
        except (AttributeError, TypeError, KeyError) as exc:  # py-amqp, of a connection that was closed meanwhile
            if self._connection is None or self.connected:
                raise
            raise LeadershipLost("the connection was closed") from exc

    @property
    def connected(self) -> bool:
        """Whether the connection has not been closed, as far as this side knows."""
        return bool(self._connection is not None and self._connection.connected)

    def channel(self) -> Any:
        """Another channel of this connection, for what may be refused: that closes a channel."""
        return self._connection.channel()

    def wait(self, seconds: float) -> None:
        """Wait for something to happen; return at the latest when it is time to look at the clock again.

        Raises:
            LockLost: the broker is gone, or the queue was deleted.
        """
        with self.losing():
            if not self._inbox:
                with suppress(TimeoutError):
                    self.client.transport.drain_events(self._connection, timeout=max(0.001, min(seconds, IDLE_SECONDS)))
            if monotonic() - self._looked > IDLE_SECONDS / 2:
                self._looked = monotonic()
                self.client.transport.heartbeat_check(self._connection, rate=2)
        if self._cancelled:
            raise LeadershipLost(f"the queue {self.queue!r} was deleted")

    def delivered(self) -> Iterator[Record]:
        """The records that have come."""
        while self._inbox:
            yield record_of(self._inbox.popleft())

    def done(self, *tags: int, kept: Collection[int] = ()) -> None:
        """Acknowledge records that nobody needs any more; ``kept`` are those that were read and stay."""
        last = max(tags, default=0)
        with self.losing():
            if len(tags) > 1 and all(tag > last for tag in kept):
                self.line.basic_ack(last, multiple=True)
                return
            for tag in tags:
                self.line.basic_ack(tag)

    def put(self, kind: str, body: Mapping[str, Any] | None = None) -> str:
        """Write a record; when this returns, it is in the queue. Its id."""
        number = uuid4().hex
        with self.losing():
            self.line.basic_publish(
                message(kind, number, body or {}),
                routing_key=self.queue,
                mandatory=True,
                confirm_timeout=self.confirm,
            )
        return number

    def answer(self, question: Record, body: Mapping[str, Any]) -> None:
        """Answer who asked, if he is still there."""
        with self.losing():
            self.line.basic_publish(
                message("answer", question.id, body), routing_key=question.reply_to, confirm_timeout=self.confirm
            )

    def close(self) -> None:
        """Leave the line; what is unacknowledged goes to the next one."""
        with suppress(Exception):
            self.client.release()
        self.abandon()

    def abandon(self) -> None:
        """Let go of the connection without a word to the broker."""
        with suppress(Exception):
            self.client.collect()
