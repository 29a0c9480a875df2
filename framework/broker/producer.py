"""Publishes confirmed messages: returns once the broker has the message on disk, or raises within a bounded time."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from amqp.exceptions import ChannelError, RecoverableConnectionError
from kombu.exceptions import OperationalError
from kombu.serialization import dumps
from kombu.utils.functional import retry_over_time

from framework.errors import BrokerFileUnavailable, FrameworkError

__all__ = ["ReliableProducer", "Unconfirmed"]


class Unconfirmed(OperationalError):
    """A message was sent, and the broker did not confirm it; ``__cause__`` is the error."""


class ReliableProducer:
    """A kombu producer that retries a publish for ``timeout`` seconds in all, then raises.

    kombu limits the number of retries, each of which may wait for the broker without limit; a caller in a web request
    needs a limit on the whole.

    Args:
        producer: kombu's.
        timeout: Seconds for a publish with its retries.
        check_size: Called with the bytes of each body, serialized and not compressed, before anything is sent.
    """

    def __init__(self, producer: Any, timeout: float, check_size: Callable[[int], None] | None = None) -> None:
        self._producer = producer
        self._timeout = timeout
        self._check_size = check_size

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def publish(
        self, body: Any, *, retry: bool = True, retry_policy: dict[str, Any] | None = None, **options: Any
    ) -> Any:
        """Publish a message, confirmed and mandatory.

        Raises:
            amqp.exceptions.MessageNacked: a full queue refused it.
            amqp.exceptions.ChannelError: with the code `NO_ROUTE`, no queue takes it.
            Unconfirmed: it was sent, and the broker may have it or not.
            kombu.exceptions.OperationalError: the broker did not answer in time, and nothing was sent.
        """
        if self._check_size is not None and not options.get("content_type"):
            body = self._serialized(body, options)
            self._check_size(len(body))
        attempt = _Attempt(self._producer, body, options, time.monotonic() + self._timeout)
        policy = {name: value for name, value in (retry_policy or {}).items() if name != "retry_errors"}
        try:
            return retry_over_time(
                attempt,
                (OperationalError, *self._producer.connection.recoverable_connection_errors),
                errback=partial(self._retry, attempt),
                timeout=self._timeout,
                **(policy if retry else {"max_retries": 0}),
            )
        except (OSError, ChannelError, OperationalError) as exc:
            self._reconnect()
            if attempt.unconfirmed:
                raise Unconfirmed(str(exc)) from exc
            raise

    def _serialized(self, body: Any, options: dict[str, Any]) -> bytes:
        serializer = options.pop("serializer", None) or self._producer.serializer
        options["content_type"], options["content_encoding"], text = dumps(body, serializer=serializer)
        return text.encode(options["content_encoding"]) if isinstance(text, str) else text

    def _retry(self, attempt: "_Attempt", exc: Any, intervals: Any, _retries: int = 0) -> Any:
        if isinstance(exc, FrameworkError) and not isinstance(exc, BrokerFileUnavailable):
            raise exc
        now = time.monotonic()
        if now + (now - attempt.began) > attempt.deadline:  # a retry that takes as long would end too late
            raise exc
        self._reconnect()
        return next(intervals)

    def _reconnect(self) -> None:
        # A late confirm would be taken for the next message's: this connection must not be used again.
        connection = self._producer.connection
        connection.maybe_switch_next()
        connection.collect()
        self._producer.revive(connection)


class _Attempt:
    """The publishes of one message: each call sends it once."""

    def __init__(self, producer: Any, body: Any, options: dict[str, Any], deadline: float) -> None:
        self._producer = producer
        self._body = body
        self._declare = options.pop("declare", None) or ()
        self._options = {"mandatory": True, **options}
        self.deadline = deadline
        self.began = 0.0
        #: Whether the broker may have the message without having confirmed it.
        self.unconfirmed = False

    def __call__(self) -> Any:
        self.began = time.monotonic()
        if self._producer.channel.connection is None:  # kombu would raise a channel error, which is not retried
            raise RecoverableConnectionError("the connection was lost")
        for entity in self._declare:
            self._producer.maybe_declare(entity)
        before, self.unconfirmed = self.unconfirmed, True
        try:
            return self._send()
        except (ChannelError, FrameworkError):  # the broker refused it
            self.unconfirmed = before
            raise

    def _send(self) -> Any:
        # Celery passes a timeout with every publish, mostly None.
        limit = self._options.get("confirm_timeout") or max(self.deadline - time.monotonic(), 0.1)
        return self._producer.publish(self._body, retry=False, **{**self._options, "confirm_timeout": limit})
