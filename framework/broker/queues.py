"""Arguments of queues."""

from typing import Any

__all__ = ["CLASSIC_ARGUMENTS", "LONGEST_EXPIRY_SECONDS", "RETAINING", "milliseconds"]

#: The arguments of a queue that keeps its messages, however often they are read. RabbitMQ 4.0 and later have a delivery
#: limit of 20 by default; this one is never reached.
RETAINING: dict[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000}

#: The arguments of a task queue that a classic queue knows too.
CLASSIC_ARGUMENTS = ("x-dead-letter-exchange", "x-overflow")

#: The longest x-expires and x-message-ttl of RabbitMQ.
LONGEST_EXPIRY_SECONDS = 2**32 // 1000 - 1


def milliseconds(seconds: float) -> int:
    """Return seconds as the value of a queue argument: whole milliseconds, at least 1 and at most RabbitMQ's limit.

    >>> milliseconds(1.5), milliseconds(0), milliseconds(1e12)
    (1500, 1, 4294966000)
    """
    return max(round(min(seconds, LONGEST_EXPIRY_SECONDS) * 1000), 1)
