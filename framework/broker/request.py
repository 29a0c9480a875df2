"""Sends short requests to the broker on a connection of the application's pool, and retries while it restarts."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from amqp.exceptions import AMQPError, ChannelError, NotFound
from kombu.exceptions import OperationalError

from framework.broker.url import sanitized
from framework.config import setting
from framework.errors import BrokerFileUnavailable, BrokerUnreachable, FrameworkError

__all__ = ["request"]


T = TypeVar("T")

#: Seconds between two attempts.
RETRY_DELAY_SECONDS = 0.1

_channels: "WeakKeyDictionary[Any, Any]" = WeakKeyDictionary()


def request(app: Any, operation: Callable[[Any], T]) -> T:
    """Call ``operation`` with a channel and return its result; call it again if the connection was lost.

    Raises:
        amqp.exceptions.ChannelError: the broker refused the request.
        BrokerUnreachable: the broker does not answer in time (``task_publish_timeout``), or the cluster node that hosts
            the queue is down.
    """
    deadline = time.monotonic() + setting(app, "task_publish_timeout")
    while True:
        started = time.monotonic()
        try:
            with app.pool.acquire(block=True) as connection:
                return _run(connection, operation)
        except (AMQPError, OperationalError, OSError) as exc:
            if _needs_other_connection(exc):
                raise BrokerUnreachable.at(sanitized(app.conf.broker_write_url), exc) from None
            if isinstance(exc, ChannelError) or _is_final(exc):
                raise
            now = time.monotonic()
            if now + (now - started) + RETRY_DELAY_SECONDS > deadline:
                raise BrokerUnreachable.at(sanitized(app.conf.broker_write_url), exc) from None
            time.sleep(RETRY_DELAY_SECONDS)


def _run(connection: Any, operation: Callable[[Any], T]) -> T:
    try:
        channel = _channels.get(connection)
        if channel is None or channel.connection is None:
            connection.connect()  # a closed connection stays in the pool
            channel = _channels[connection] = connection.channel()
        return operation(channel)
    except ChannelError:
        # The broker has closed the channel, and py-amqp has reopened it without confirms.
        with suppress(AMQPError, OSError):
            _channels.pop(connection).close()
        raise
    except BaseException:
        # A late confirm would be taken for the next message's.
        _channels.pop(connection, None)
        connection.collect()
        raise


def _needs_other_connection(exc: BaseException) -> bool:
    """Return whether the error is RabbitMQ's for a queue whose cluster node is down."""
    return isinstance(exc, NotFound) and "home node" in str(exc)


def _is_final(exc: BaseException) -> bool:
    return isinstance(exc, FrameworkError) and not isinstance(exc, BrokerFileUnavailable)
