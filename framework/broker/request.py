"""Sends short requests to the broker on a connection of the application's pool, and retries while it restarts."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from amqp.exceptions import AMQPError, ChannelError, NotFound
from kombu.exceptions import OperationalError

from framework.broker.connection import acquired
from framework.broker.deadline import Deadline
from framework.broker.url import sanitized
from framework.config import setting
from framework.errors import BrokerFileUnavailable, BrokerUnreachable, FrameworkError

__all__ = ["converting_lost_broker", "request", "within_call"]


T = TypeVar("T")

#: Seconds between two attempts.
RETRY_DELAY_SECONDS = 0.1

#: Seconds within which RabbitMQ has deleted a queue. Until then it answers as if the queue's cluster node were down.
DELETION_SECONDS = 0.5

_channels: "WeakKeyDictionary[Any, Any]" = WeakKeyDictionary()


@contextmanager
def within_call(app: Any) -> Iterator[Deadline]:
    """Bound all waits of the block by ``task_publish_timeout`` together, or by the deadline of an outer call.

    Raises:
        BrokerUnreachable: the broker does not answer in time.
    """
    with Deadline.within(float(setting(app, "task_publish_timeout"))) as deadline, converting_lost_broker(app):
        yield deadline


@contextmanager
def converting_lost_broker(app: Any) -> Iterator[None]:
    """Convert an error of the connection inside into one that names the broker and the fix.

    Raises:
        BrokerUnreachable: the broker does not answer.
    """
    try:
        yield
    except (FrameworkError, ChannelError):
        raise
    except (AMQPError, OperationalError, OSError) as exc:
        raise _unreachable(app, exc) from None


def request(app: Any, operation: Callable[[Any], T]) -> T:
    """Call ``operation`` with a channel and return its result; call it again if the connection was lost.

    Raises:
        amqp.exceptions.ChannelError: the broker refused the request.
        BrokerUnreachable: the broker does not answer before the deadline of the call (``task_publish_timeout``), or the
            cluster node that hosts the queue is down.
    """
    cause: BaseException | None = None
    deletion: Deadline | None = None
    with Deadline.within(float(setting(app, "task_publish_timeout"))) as deadline:
        while True:
            started = time.monotonic()
            try:
                with acquired(app.pool) as connection:
                    return _run(connection, operation)
            except (AMQPError, OperationalError, OSError) as exc:
                if not _is_without_node(exc):
                    if isinstance(exc, ChannelError) or _is_final(exc):
                        raise
                elif (deletion := deletion or Deadline(DELETION_SECONDS)).passed:
                    raise _unreachable(app, exc) from None
                if cause is None or not deadline.passed:  # an attempt that ran out of time has no better one
                    cause = exc
                if time.monotonic() - started + RETRY_DELAY_SECONDS > deadline.left:
                    raise _unreachable(app, cause) from None
                time.sleep(RETRY_DELAY_SECONDS)


def _run(connection: Any, operation: Callable[[Any], T]) -> T:
    try:
        channel = _channels.get(connection)
        if channel is None or channel.connection is None:
            connection.ensure_connection(max_retries=0)  # a closed connection stays in the pool
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
        connection.maybe_switch_next()
        raise


def _unreachable(app: Any, exc: BaseException) -> FrameworkError:
    """Return the error for a broker that cannot be used; that of its file has its own words."""
    cause = exc.__cause__ if type(exc) is OperationalError and exc.__cause__ else exc  # kombu wraps some errors
    if isinstance(cause, FrameworkError):
        return cause
    return BrokerUnreachable.at(sanitized(app.conf.broker_write_url), cause)


def _is_without_node(exc: BaseException) -> bool:
    """Return whether the error is RabbitMQ's for a queue whose cluster node is down, or that is being deleted."""
    return isinstance(exc, NotFound) and "home node" in str(exc)


def _is_final(exc: BaseException) -> bool:
    return isinstance(exc, FrameworkError) and not isinstance(exc, BrokerFileUnavailable)
