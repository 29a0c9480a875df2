"""Publishing that returns once the broker has the message on disk, or raises within a bounded time."""

import time
from functools import partial
from typing import Any

from amqp.exceptions import ChannelError, RecoverableConnectionError
from kombu.exceptions import OperationalError
from kombu.utils.functional import retry_over_time

from framework.errors import BrokerFileUnavailable, FrameworkError

__all__ = ["ReliableProducer", "Unconfirmed"]


class Unconfirmed(OperationalError):
    """A message was sent, and the broker did not say that it has it; the cause is what went wrong."""


class ReliableProducer:
    """A kombu producer whose publishes are tried again for ``timeout`` seconds in all, then raise.

    kombu's own retries count tries, each of which may wait for the broker as long as it likes; a caller in a web
    request needs a bound on the whole.
    """

    def __init__(self, producer: Any, timeout: float) -> None:
        self._producer = producer
        self._timeout = timeout

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def publish(
        self, body: Any, *, retry: bool = True, retry_policy: dict[str, Any] | None = None, **options: Any
    ) -> Any:
        """Publish, confirmed and mandatory.

        Raises:
            amqp.exceptions.MessageNacked: a queue is full and refuses more.
            amqp.exceptions.ChannelError: with code 312, no queue takes the message.
            Unconfirmed: the broker was sent the message, and whether it has it is not known.
            kombu.exceptions.OperationalError: the broker did not answer in time, and was sent nothing.
        """
        attempt = _Attempt(self._producer, body, options, time.monotonic() + self._timeout)
        policy = {name: value for name, value in (retry_policy or {}).items() if name != "retry_errors"}
        try:
            return retry_over_time(
                attempt,
                (OperationalError, *self._producer.connection.recoverable_connection_errors),
                errback=partial(self._again, attempt),
                timeout=self._timeout,
                **(policy if retry else {"max_retries": 0}),
            )
        except (OSError, ChannelError, OperationalError) as exc:
            self._start_anew()
            if attempt.unconfirmed:
                raise Unconfirmed(str(exc)) from exc
            raise

    def _again(self, attempt: "_Attempt", exc: Any, intervals: Any, _retries: int = 0) -> Any:
        if isinstance(exc, FrameworkError) and not isinstance(exc, BrokerFileUnavailable):
            raise exc
        now = time.monotonic()
        if now + (now - attempt.began) > attempt.deadline:  # another try as long as this one would end too late
            raise exc
        self._start_anew()
        return next(intervals)

    def _start_anew(self) -> None:
        # A confirm that was not waited for would be taken for the next message's: this connection is of no use.
        connection = self._producer.connection
        connection.maybe_switch_next()
        connection.collect()
        self._producer.revive(connection)


class _Attempt:
    """One message on its way to the broker, sent once each time that this is called."""

    def __init__(self, producer: Any, body: Any, options: dict[str, Any], deadline: float) -> None:
        self._producer = producer
        self._body = body
        self._declare = options.pop("declare", None) or ()
        self._options = {"mandatory": True, **options}
        self.deadline = deadline
        self.began = 0.0
        #: Whether the broker may have the message although it did not say so.
        self.unconfirmed = False

    def __call__(self) -> Any:
        self.began = time.monotonic()
        if self._producer.channel.connection is None:  # kombu would call it a fault of the channel, and give up
            raise RecoverableConnectionError("the connection was lost")
        for entity in self._declare:
            self._producer.maybe_declare(entity)
        before, self.unconfirmed = self.unconfirmed, True
        try:
            return self._send()
        except (ChannelError, FrameworkError):  # that is an answer: it does not have this one
            self.unconfirmed = before
            raise

    def _send(self) -> Any:
        # Celery names the timeout of every publish, mostly as None.
        limit = self._options.get("confirm_timeout") or max(self.deadline - time.monotonic(), 0.1)
        return self._producer.publish(self._body, retry=False, **{**self._options, "confirm_timeout": limit})
