"""AMQP connections whose every wait ends with the deadline of the thread's call; without one they are kombu's.

kombu and py-amqp take timeouts for single waits. A call has many of them (connect, log in, declare, publish, confirm),
and none knows how long the others took.
"""

from collections.abc import Callable
from typing import Any

import kombu
from amqp.method_framing import frame_writer
from kombu.connection import ConnectionPool
from kombu.exceptions import LimitExceeded, OperationalError
from kombu.transport import pyamqp

from framework.broker.deadline import Deadline, bounded

__all__ = ["Connection", "Pool", "SSLTransport", "Transport", "acquired"]


def acquired(pool: Any, timeout: float | None = None) -> Any:
    """Acquire a connection or producer from a pool; while all are in use, wait to the deadline of the call at most.

    Args:
        pool: kombu's.
        timeout: Seconds to wait, where that is less.

    Raises:
        kombu.exceptions.OperationalError: all were in use all the time.
    """
    try:
        return pool.acquire(block=True, timeout=bounded(timeout))
    except LimitExceeded:
        raise OperationalError(
            f"all {pool.limit} connections of this process (broker_pool_limit) were in use all the time"
        ) from None


class Pool(ConnectionPool):
    """A pool in which a call waits for a connection no longer than to its deadline."""

    def acquire(self, block: bool = False, timeout: float | None = None) -> Any:
        """Acquire a connection; see ``kombu.pools.Resource.acquire``."""
        return super().acquire(block=block, timeout=bounded(timeout) if block else timeout)


class Connection(kombu.Connection):
    """A kombu connection whose pool is a `Pool`."""

    def Pool(self, limit: int | None = None, **options: Any) -> Pool:  # noqa: N802 - kombu's name
        """Return a pool of connections like this one."""
        return Pool(self, limit, **options)


class AMQPConnection(pyamqp.Connection):
    """py-amqp's connection, within the deadline of the thread's call."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"frame_writer": _writer_in_time, **options})

    def connect(self, callback: Callable[[], Any] | None = None) -> Any:
        """Connect and log in.

        Raises:
            kombu.exceptions.OperationalError: the deadline has passed. This one is not retried by kombu.
        """
        deadline = Deadline.current()
        if deadline is not None and deadline.passed and not self.connected:
            raise OperationalError("timed out")
        self.connect_timeout = bounded(self.connect_timeout)
        return super().connect(callback)

    def blocking_read(self, timeout: float | None = None) -> Any:
        """Read one frame."""
        return super().blocking_read(bounded(timeout))


def _writer_in_time(connection: Any, transport: Any) -> Callable[..., Any]:
    """Return py-amqp's frame writer, within the deadline of the thread's call."""
    write = frame_writer(connection, transport)

    def write_in_time(*frame: Any) -> Any:
        seconds = bounded(None)
        if seconds is None:
            return write(*frame)
        try:
            with transport.having_timeout(seconds):
                return write(*frame)
        except TimeoutError:
            transport.connected = False  # a part of the frame may have been sent: nothing can follow it
            raise

    return write_in_time


class Transport(pyamqp.Transport):
    """kombu's transport for ``amqp://``, within the deadline of the thread's call."""

    Connection = AMQPConnection


class SSLTransport(pyamqp.SSLTransport):
    """kombu's transport for ``amqps://``, within the deadline of the thread's call."""

    Connection = AMQPConnection
