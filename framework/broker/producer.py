"""Publishes confirmed messages: returns once the broker has the message on disk, or raises within a bounded time."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from amqp.exceptions import ChannelError, MessageNacked, RecoverableConnectionError
from kombu.exceptions import OperationalError
from kombu.serialization import dumps
from kombu.utils.functional import retry_over_time

from framework.broker.deadline import Deadline
from framework.errors import BrokerFileUnavailable, FrameworkError

__all__ = ["ReliableProducer", "Unconfirmed"]

#: Seconds between two attempts, for calls without a retry policy: at first, how many more each time, and at most.
RETRY_DELAYS = {"interval_start": 0.1, "interval_step": 0.1, "interval_max": 0.5}

#: What limits the length of a queue: attributes of its declaration, with their arguments.
LENGTH_LIMITS = {"max_length": "x-max-length", "max_length_bytes": "x-max-length-bytes"}


class Unconfirmed(OperationalError):
    """A message was sent, and the broker did not confirm it; ``__cause__`` is the error."""


class ReliableProducer:
    """A kombu producer that retries for ``timeout`` seconds in all, or to the deadline of the call, then raises.

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

    def declare(self, entity: Any) -> None:
        """Declare a queue or an exchange, unless this connection has done so.

        Raises:
            amqp.exceptions.ChannelError: the broker refuses it.
            kombu.exceptions.OperationalError: the broker did not answer in time.
        """
        with Deadline.within(self._timeout) as deadline:
            self._retrying(_Declaration(self._producer, entity), deadline, RETRY_DELAYS)

    def publish(
        self, body: Any, *, retry: bool = True, retry_policy: dict[str, Any] | None = None, **options: Any
    ) -> Any:
        """Publish a message, confirmed and mandatory.

        A queue that refuses the message although its declaration does not limit its length is retried: the leader of
        a new quorum queue may not be there yet.

        Raises:
            amqp.exceptions.MessageNacked: a queue refused it.
            amqp.exceptions.ChannelError: with the code `NO_ROUTE`, no queue takes it.
            Unconfirmed: it was sent, and the broker may have it or not.
            kombu.exceptions.OperationalError: the broker did not answer in time, and nothing was sent.
        """
        if self._check_size is not None and not options.get("content_type"):
            body = self._serialized(body, options)
            self._check_size(len(body))
        policy = {name: value for name, value in (retry_policy or RETRY_DELAYS).items() if name != "retry_errors"}
        with Deadline.within(self._timeout) as deadline:
            attempt = _Publish(self._producer, body, options, deadline)
            try:
                return self._retrying(attempt, deadline, policy if retry else {"max_retries": 0})
            except (OSError, ChannelError, OperationalError) as exc:
                if attempt.unconfirmed:
                    raise Unconfirmed(str(exc)) from exc
                raise

    def _retrying(self, attempt: "_Attempt", deadline: Deadline, policy: dict[str, Any]) -> Any:
        try:
            return retry_over_time(
                attempt,
                (
                    MessageNacked,
                    OperationalError,
                    *self._producer.connection.recoverable_connection_errors,
                ),
                errback=partial(self._retry, attempt, deadline),
                **policy,
            )
        except (OSError, ChannelError, OperationalError):
            self._reconnect()
            raise

    def _serialized(self, body: Any, options: dict[str, Any]) -> bytes:
        serializer = options.pop("serializer", None) or self._producer.serializer
        options["content_type"], options["content_encoding"], text = dumps(body, serializer=serializer)
        return text.encode(options["content_encoding"]) if isinstance(text, str) else text

    def _retry(self, attempt: "_Attempt", deadline: Deadline, exc: Any, intervals: Any, _retries: int = 0) -> Any:
        if isinstance(exc, FrameworkError) and not isinstance(exc, BrokerFileUnavailable):
            raise exc
        if isinstance(exc, MessageNacked) and attempt.may_be_full:
            raise exc
        delay = next(intervals)
        if time.monotonic() - attempt.began + delay > deadline.left:  # a retry that takes as long would end too late
            raise exc
        # After a nack too: RabbitMQ's channel goes on refusing for a queue that has found another leader meanwhile.
        self._reconnect()
        return delay

    def _reconnect(self) -> None:
        # A late confirm would be taken for the next message's: this connection must not be used again.
        connection = self._producer.connection
        connection.collect()
        connection.maybe_switch_next()
        self._producer.revive(connection)


class _Attempt:
    """Something that a producer does on its channel; each call does it once."""

    #: Whether a queue may refuse a message because it is full.
    may_be_full = True

    def __init__(self, producer: Any) -> None:
        self._producer = producer
        self.began = 0.0

    def __call__(self) -> Any:
        self.began = time.monotonic()
        if self._producer.channel.connection is None:  # kombu would raise a channel error, which is not retried
            raise RecoverableConnectionError("the connection was lost")
        return self._run()

    def _run(self) -> Any:
        raise NotImplementedError


class _Declaration(_Attempt):
    """A declaration."""

    def __init__(self, producer: Any, entity: Any) -> None:
        super().__init__(producer)
        self._entity = entity

    def _run(self) -> None:
        self._producer.maybe_declare(self._entity)


class _Publish(_Attempt):
    """The publishes of one message: each call sends it once."""

    def __init__(self, producer: Any, body: Any, options: dict[str, Any], deadline: Deadline) -> None:
        super().__init__(producer)
        self._body = body
        self._declare = options.pop("declare", None) or ()
        self._options = {"mandatory": True, **options}
        self._deadline = deadline
        #: Whether the broker may have the message without having confirmed it.
        self.unconfirmed = False

    @property
    def may_be_full(self) -> bool:  # type: ignore[override]
        """Whether a queue may refuse it because it is full: one of limited length, or one that is not known here."""
        return not self._declare or any(_has_limited_length(entity) for entity in self._declare)

    def _run(self) -> Any:
        for entity in self._declare:
            self._producer.maybe_declare(entity)
        before, self.unconfirmed = self.unconfirmed, True
        try:
            return self._send()
        except (ChannelError, FrameworkError, MessageNacked):  # the broker refused it
            self.unconfirmed = before
            raise

    def _send(self) -> Any:
        # Celery passes a timeout with every publish, mostly None.
        limit = min(self._options.get("confirm_timeout") or float("inf"), max(self._deadline.left, 0.1))
        return self._producer.publish(self._body, retry=False, **{**self._options, "confirm_timeout": limit})


def _has_limited_length(entity: Any) -> bool:
    arguments = getattr(entity, "queue_arguments", None) or {}
    return any(getattr(entity, name, None) or argument in arguments for name, argument in LENGTH_LIMITS.items())
