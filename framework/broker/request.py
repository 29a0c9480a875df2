"""A short exchange with the broker on a connection of the application's pool, tried again while the broker restarts."""

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

#: Seconds between two tries.
RETRY_DELAY_SECONDS = 0.1

_channels: "WeakKeyDictionary[Any, Any]" = WeakKeyDictionary()


def request(app: Any, question: Callable[[Any], T]) -> T:
    """What ``question`` answers, which is called with a channel, once more where its connection was lost.

    Raises:
        amqp.exceptions.ChannelError: the broker refused something.
        BrokerUnreachable: the broker does not answer, or not in time (``task_publish_timeout``), or the node of a
            cluster that keeps what was asked for is down.
    """
    deadline = time.monotonic() + setting(app, "task_publish_timeout")
    while True:
        started = time.monotonic()
        try:
            with app.pool.acquire(block=True) as connection:
                return _answer(connection, question)
        except (AMQPError, OperationalError, OSError) as exc:
            if _needs_other_connection(exc):
                raise BrokerUnreachable.at(sanitized(app.conf.broker_write_url), exc) from None
            if isinstance(exc, ChannelError) or _is_final(exc):
                raise
            now = time.monotonic()
            if now + (now - started) + RETRY_DELAY_SECONDS > deadline:
                raise BrokerUnreachable.at(sanitized(app.conf.broker_write_url), exc) from None
            time.sleep(RETRY_DELAY_SECONDS)


def _answer(connection: Any, question: Callable[[Any], T]) -> T:
    try:
        channel = _channels.get(connection)
        if channel is None or channel.connection is None:
            connection.connect()  # one that somebody else has closed stays in the pool
            channel = _channels[connection] = connection.channel()
        return question(channel)
    except ChannelError:
        # The broker has closed the channel, and py-amqp opened it again without the confirms.
        with suppress(AMQPError, OSError):
            _channels.pop(connection).close()
        raise
    except BaseException:
        # A confirm that was not waited for would be taken for the next message's.
        _channels.pop(connection, None)
        connection.collect()
        raise


def _needs_other_connection(exc: BaseException) -> bool:
    """Whether a queue was asked for that a node of the cluster keeps which is down, as RabbitMQ says it."""
    return isinstance(exc, NotFound) and "home node" in str(exc)


def _is_final(exc: BaseException) -> bool:
    return isinstance(exc, FrameworkError) and not isinstance(exc, BrokerFileUnavailable)
