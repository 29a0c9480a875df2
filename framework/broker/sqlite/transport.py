"""kombu transport for ``sqlite:///file``: RabbitMQ's semantics in one SQLite file, shared by processes of one machine.

Three slashes name a file relative to the current folder, four an absolute one. ``broker_transport_options =
{"synchronous": "full"}`` makes a confirmed message survive a power cut, at the price of an fsync for each.
"""

import sqlite3
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import amqp
from kombu.exceptions import OperationalError
from kombu.transport import base

from framework.broker.deadline import Deadline
from framework.broker.sqlite.channel import Channel
from framework.broker.sqlite.connection import MAINTENANCE_SECONDS, Connection
from framework.errors import BrokerFileRefused, BrokerFileUnavailable

__all__ = ["Transport"]


#: Seconds for which messages are delivered before the event loop serves its other readers.
BURST_SECONDS = 0.005


class Transport(base.Transport):
    """The embedded broker's side of kombu's transport interface."""

    driver_type = "sqlite"
    driver_name = "sqlite3"
    default_port = None
    can_parse_url = True

    connection_errors = (*amqp.Connection.connection_errors, BrokerFileUnavailable)
    channel_errors = amqp.Connection.channel_errors
    recoverable_connection_errors = (*amqp.Connection.recoverable_connection_errors, BrokerFileUnavailable)
    recoverable_channel_errors = amqp.Connection.recoverable_channel_errors

    implements = base.Transport.implements.extend(
        asynchronous=True, heartbeats=False, exchange_type=frozenset(["direct", "topic", "fanout"])
    )

    _loop: Any = None

    def driver_version(self) -> str:
        """Return SQLite's version."""
        return sqlite3.sqlite_version

    def establish_connection(self) -> Connection:
        """Open the file; create it if it does not exist.

        Raises:
            BrokerFileRefused: the URL names no file, or a file that is no broker of this version.
            BrokerFileUnavailable: the file cannot be opened now.
            kombu.exceptions.OperationalError: the deadline of the call has passed; kombu does not retry this one.
        """
        deadline = Deadline.current()
        if deadline is not None and deadline.passed:
            raise OperationalError("timed out")
        client: Any = self.client
        return Connection(client, _file(client), _synchronous(client.transport_options or {}))

    def create_channel(self, connection: Connection) -> Channel:
        """Return a new channel of a connection."""
        return connection.channel()

    def close_connection(self, connection: Connection) -> None:
        """Close a connection; its unacknowledged messages are requeued at once."""
        self._leave_loop(connection)
        connection.client = None
        connection.close()

    def _collect(self, connection: Connection | None) -> None:
        if connection is not None:
            self._leave_loop(connection)
            connection.collect()

    def _leave_loop(self, connection: Connection) -> None:
        # The next file opened gets this descriptor's number: the loop must not take it for this connection.
        if self._loop is not None and connection.connected:
            self._loop.remove_reader(connection.fileno())
        self._loop = None

    def verify_connection(self, connection: Connection) -> bool:
        """Return whether this process can use a connection."""
        return connection.connected

    def drain_events(self, connection: Connection, timeout: float | None = None, **_: Any) -> None:
        """Deliver the messages that are ready to their consumers; see :meth:`Connection.drain_events`."""
        connection.drain_events(timeout=timeout)

    def qos_semantics_matches_spec(self, _connection: Connection) -> bool:
        """Return False: as in RabbitMQ, a prefetch count applies to each consumer unless it is set for the channel."""
        return False

    def register_with_event_loop(self, connection: Connection, loop: Any) -> None:
        """Have the event loop drain the connection when its wake-up pipe is readable, and run maintenance otherwise."""
        self._loop = loop
        loop.add_reader(connection.fileno(), self.on_readable, connection, loop)
        loop.call_later(MAINTENANCE_SECONDS, self._maintain, connection, loop)

    def on_readable(self, connection: Connection, loop: Any) -> None:
        """Deliver messages for `BURST_SECONDS`, then let the loop serve its other readers."""
        until = monotonic() + BURST_SECONDS
        try:
            while monotonic() < until:
                connection.deliver_next(timeout=0)
        except TimeoutError:
            self._schedule_due_work(connection, loop)
        else:
            # The loop sleeps on descriptors even when a call is scheduled soon: the wake-up pipe is a descriptor.
            connection.wake()

    def _maintain(self, connection: Connection, loop: Any) -> None:
        if connection.connected:
            connection.fetch()
            if connection.run_due_work() <= 0 or connection.inbox:
                connection.wake()
            loop.call_later(MAINTENANCE_SECONDS, self._maintain, connection, loop)

    def _schedule_due_work(self, connection: Connection, loop: Any) -> None:
        pause = connection.run_due_work()
        if pause < MAINTENANCE_SECONDS:
            loop.call_later(pause, connection.wake)

    def as_uri(self, uri: str | None, *_: Any) -> str:
        """Return the URL, which holds no password."""
        client: Any = self.client
        return uri or f"sqlite:///{quote(client.virtual_host)}"


def _file(client: Any) -> Path:
    # kombu passes the first URL of a list as it is, and the path of another one as a virtual host.
    url = client.hostname
    name = unquote(urlsplit(url).path.removeprefix("/")) if url else client.virtual_host
    if not name:
        raise BrokerFileRefused(
            "sqlite:/// names no file. Write sqlite:///broker.db for a file in the current folder, "
            "or sqlite:////var/lib/app/broker.db for an absolute path."
        )
    return Path(name).resolve()


def _synchronous(options: dict[str, Any]) -> str:
    level = str(options.get("synchronous", "normal")).lower()
    if level not in ("normal", "full"):
        raise BrokerFileRefused(
            f"broker_transport_options: synchronous={level!r} is neither 'normal' nor 'full'. "
            "'full' survives a power cut and costs an fsync for each message."
        )
    return level
