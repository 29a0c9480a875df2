"""The broker's clock, which all callers share: callers' own may differ by minutes.

AMQP has no request for the time. But a broker writes it into each dead letter, in whole seconds; so a process lets a
message expire at once, compares, and corrects its own clock where that is not within the broker's second.
"""

import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import amqp

__all__ = ["BrokerClock"]

#: Seconds after which the broker's time is read again.
READ_EVERY_SECONDS = 60.0

#: Seconds by which the local clock may be set while the last reading is still used.
LARGEST_STEP_SECONDS = 0.5

#: Seconds for a dead letter to arrive, and between two requests for it.
TIMEOUT_SECONDS, RETRY_DELAY_SECONDS = 3.0, 0.005


class BrokerClock:
    """The time of a broker, as one process knows it: to the second, and exactly where both clocks agree."""

    def __init__(self) -> None:
        #: The broker's time less this process's monotonic time.
        self._offset = 0.0
        self._read_at = float("-inf")
        #: The local time less the monotonic time, when the broker's time was read.
        self._local_offset = 0.0

    def now(self, channel: Any) -> float:
        """Return the broker's Unix time.

        Raises:
            TimeoutError: the broker did not dead-letter a message in time; the connection must not be used again.
        """
        if self._is_stale():
            self._read(channel)
        return self._offset + time.monotonic()

    def _is_stale(self) -> bool:
        since = time.monotonic() - self._read_at
        # A clock that was set, or a machine that was suspended, where monotonic time stands still.
        step = time.time() - time.monotonic() - self._local_offset
        return since > READ_EVERY_SECONDS or abs(step) > LARGEST_STEP_SECONDS

    def _read(self, channel: Any) -> None:
        sent = time.monotonic()
        second = _time_of_a_dead_letter(channel)
        received, local = time.monotonic(), time.time()
        now = min(max(local, second), second + 1 + (received - sent))
        self._offset, self._read_at, self._local_offset = now - received, received, local - received


def _time_of_a_dead_letter(channel: Any) -> float:
    """Return the second in which the broker dead-lettered a message; it did so during this call."""
    name = f"clock.{uuid4().hex}"
    expiring = {"x-message-ttl": 0, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": name}
    channel.queue_declare(name, exclusive=True, auto_delete=False)
    channel.queue_declare(f"{name}.expiring", exclusive=True, auto_delete=False, arguments=expiring)
    channel.basic_publish(amqp.Message(b""), exchange="", routing_key=f"{name}.expiring")
    died = _time_of_death(_next_message(channel, name))
    channel.queue_delete(f"{name}.expiring")
    channel.queue_delete(name)
    return died


def _next_message(channel: Any, queue: str) -> amqp.Message:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while (message := channel.basic_get(queue, no_ack=True)) is None:
        if time.monotonic() > deadline:
            raise TimeoutError("the broker did not dead-letter a message in time")
        time.sleep(RETRY_DELAY_SECONDS)
    found: amqp.Message = message
    return found


def _time_of_death(message: amqp.Message) -> float:
    headers: Any = message.headers
    died: datetime = headers["x-death"][0]["time"]
    return died.replace(tzinfo=UTC).timestamp()
