"""Publishing that returns once the broker has the message on disk, or raises within a bounded time."""

import time
from typing import Any

from amqp.exceptions import ChannelError, RecoverableConnectionError
from kombu.exceptions import OperationalError
from kombu.utils.functional import retry_over_time

from framework.errors import BrokerFileUnavailable, FrameworkError

__all__ = ["PatientProducer"]


class PatientProducer:
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
            kombu.exceptions.OperationalError: the broker did not answer in time.
        """
        deadline = time.monotonic() + self._timeout
        started = 0.0

        def attempt() -> Any:
            nonlocal started
            started = time.monotonic()
            if self._producer.channel.connection is None:  # kombu would call it a fault of the channel, and give up
                raise RecoverableConnectionError("the connection was lost")
            # Celery names the timeout of every publish, mostly as None.
            limit = options.get("confirm_timeout") or max(deadline - started, 0.1)
            return self._producer.publish(body, retry=False, **{"mandatory": True, **options, "confirm_timeout": limit})

        def again(exc: Any, intervals: Any, _retries: int = 0) -> Any:
            if isinstance(exc, FrameworkError) and not isinstance(exc, BrokerFileUnavailable):
                raise exc
            now = time.monotonic()
            if now + (now - started) > deadline:  # another try as long as this one would end too late
                raise exc
            self._start_anew()
            return next(intervals)

        policy = {name: value for name, value in (retry_policy or {}).items() if name != "retry_errors"}
        try:
            return retry_over_time(
                attempt,
                (OperationalError, *self._producer.connection.recoverable_connection_errors),
                errback=again,
                timeout=self._timeout,
                **(policy if retry else {"max_retries": 0}),
            )
        except (OSError, ChannelError, OperationalError):
            self._start_anew()
            raise

    def _start_anew(self) -> None:
        # A confirm that was not waited for would be taken for the next message's: this connection is of no use.
        connection = self._producer.connection
        connection.maybe_switch_next()
        connection.collect()
        self._producer.revive(connection)
