"""The one connection of a scheduler: it consumes the state queue, and is the only one on which the scheduler publishes.

A scheduler that lost its leadership has lost this connection too, so it cannot publish any more: nothing here
reconnects or retries. Tasks are published on the channel that consumes: the broker routes everything that was published
on a channel before it removes the channel's consumer, so the next leader receives all records.
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
from framework.schedule.confirms import Confirms
from framework.schedule.messages import Record, message, queue_name, record_of, state_queue

__all__ = ["HEARTBEAT_SECONDS", "LeaderConnection", "LeadershipLost"]


#: Seconds between two heartbeats. The broker closes a connection after two to three of these without one.
HEARTBEAT_SECONDS = 6

#: The longest time, in seconds, between two checks of the clock and of heartbeats.
IDLE_SECONDS = HEARTBEAT_SECONDS / 4


class LeadershipLost(Exception):
    """The connection is lost, and with it the leadership."""


class LeaderConnection:
    """A connection that consumes the state queue, until it is lost.

    Raises:
        LeadershipLost: from any method; a scheduler then opens a new one.
    """

    def __init__(self, app: Celery) -> None:
        self.queue = queue_name(app)
        self.confirm_timeout = float(setting(app, "task_publish_timeout"))
        self._inbox: deque[amqp.Message] = deque()
        self._cancelled = False
        self._connection: Any = None
        self._heartbeat_checked = monotonic()
        timeout = self.confirm_timeout
        options = {"confirm_publish": True, "read_timeout": timeout, "write_timeout": timeout}
        self.client: Any = app.connection_for_write(heartbeat=HEARTBEAT_SECONDS, transport_options=options)
        tolerate_unreadable(self.client)
        try:
            with self.converting_errors():
                self._open()
        except BaseException:
            self.abandon()  # else it would stay a consumer of the queue, and never reply
            raise

    def _open(self) -> None:
        self.client.connect()
        self._connection = self.client.connection
        #: The channel that consumes, on which tasks are published too.
        self.channel = self.open_channel()
        self.confirms = Confirms(self.channel, self._drain, self.confirm_timeout)
        state_queue(self.queue)(self.channel).declare()
        self.channel.basic_qos(0, 0, False)
        self.channel.basic_consume(self.queue, callback=self._inbox.append, on_cancel=self._on_cancel)

    def _drain(self, seconds: float) -> None:
        self.client.transport.drain_events(self._connection, timeout=seconds)

    def _on_cancel(self, _tag: str) -> None:
        self._cancelled = True

    @contextmanager
    def converting_errors(self) -> Iterator[None]:
        """Convert any error of the broker in the block into `LeadershipLost`.

        Raises:
            LeadershipLost: there was an error.
        """
        try:
            yield
        except (AMQPError, BrokerError, MessageNacked, OperationalError, OSError) as exc:
            raise LeadershipLost(str(exc) or type(exc).__name__) from exc
        except (AttributeError, TypeError, KeyError) as exc:  # py-amqp, of a connection that was closed meanwhile
            if self._connection is None or self.is_connected:
                raise
            raise LeadershipLost("the connection was closed") from exc

    @property
    def is_connected(self) -> bool:
        """Whether the connection is open, as far as this side knows."""
        return bool(self._connection is not None and self._connection.connected)

    def open_channel(self) -> Any:
        """Open another channel, for declarations: the broker closes a channel when it refuses one."""
        return self._connection.channel()

    def wait(self, seconds: float) -> None:
        """Wait for a message; return after ``seconds``, or after `IDLE_SECONDS` to check the clock again.

        Raises:
            LeadershipLost: the broker is gone, or the queue was deleted.
        """
        with self.converting_errors():
            if not self._inbox:
                with suppress(TimeoutError):
                    self._drain(max(0.001, min(seconds, IDLE_SECONDS)))
            if monotonic() - self._heartbeat_checked > IDLE_SECONDS / 2:
                self._heartbeat_checked = monotonic()
                self.client.transport.heartbeat_check(self._connection, rate=2)
        if self._cancelled:
            raise LeadershipLost(f"the broker cancelled the consumer of the queue {self.queue!r}, or it was deleted")

    def received(self) -> Iterator[Record]:
        """Yield the records that were delivered."""
        while self._inbox:
            yield record_of(self._inbox.popleft())

    def acknowledge(self, *tags: int, held: Collection[int] = ()) -> None:
        """Acknowledge records that no leader needs any more; ``held`` are those that stay unacknowledged."""
        last = max(tags, default=0)
        with self.converting_errors():
            if len(tags) > 1 and all(tag > last for tag in held):
                self.channel.basic_ack(last, multiple=True)
                return
            for tag in tags:
                self.channel.basic_ack(tag)

    def publish(self, kind: str, body: Mapping[str, Any] | None = None) -> str:
        """Publish a record; once this returns, it is in the queue. Return its id."""
        number = uuid4().hex
        with self.converting_errors():
            self.channel.basic_publish(
                message(kind, number, body or {}),
                routing_key=self.queue,
                mandatory=True,
                confirm_timeout=self.confirm_timeout,
            )
        return number

    def reply(self, query: Record, body: Mapping[str, Any]) -> None:
        """Reply to a query or control record, if its sender is still there."""
        with self.converting_errors():
            self.channel.basic_publish(
                message("answer", query.id, body), routing_key=query.reply_to, confirm_timeout=self.confirm_timeout
            )

    def close(self) -> None:
        """Close the connection; the next consumer receives all unacknowledged records."""
        with suppress(Exception):
            self.client.release()
        self.abandon()

    def abandon(self) -> None:
        """Close the socket without AMQP's closing handshake: the broker may never answer."""
        with suppress(Exception):
            self.client.collect()
