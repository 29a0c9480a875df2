"""Queues that keep their messages, however often these are read."""

from typing import Any

__all__ = ["RETAINING"]

#: The arguments of such a queue. A delivery limit must be set, since RabbitMQ from 4.0 on has one of 20 by default;
#: this one is never reached.
RETAINING: dict[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000}
