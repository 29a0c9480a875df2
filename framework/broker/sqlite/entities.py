"""Declared queues and exchanges, with their arguments as attributes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

__all__ = ["Exchange", "Queue", "exchange_from", "queue_from"]


@dataclass(frozen=True)
class Queue:
    """A declared queue; times are in seconds."""

    id: int
    name: str
    durable: bool
    exclusive: bool
    auto_delete: bool
    arguments: dict[str, Any] = field(hash=False)
    owner: int | None

    @cached_property
    def ttl(self) -> float | None:
        """The seconds that a message may wait."""
        return _seconds(self.arguments.get("x-message-ttl"))

    @cached_property
    def expires(self) -> float | None:
        """The seconds after which the unused queue is deleted."""
        return _seconds(self.arguments.get("x-expires"))

    @cached_property
    def max_length(self) -> int | None:
        """The number of messages that may be ready."""
        return self.arguments.get("x-max-length")

    @cached_property
    def max_bytes(self) -> int | None:
        """The number of bytes that the bodies of ready messages may have."""
        return self.arguments.get("x-max-length-bytes")

    @cached_property
    def limited(self) -> bool:
        """Whether the queue has a length limit."""
        return self.max_length is not None or self.max_bytes is not None

    @cached_property
    def overflow(self) -> str:
        """The overflow behaviour: ``drop-head``, ``reject-publish`` or ``reject-publish-dlx``."""
        return str(self.arguments.get("x-overflow", "drop-head"))

    @cached_property
    def max_priority(self) -> int:
        """The highest priority that counts; 0 for a queue without priorities."""
        return int(self.arguments.get("x-max-priority", 0))

    @cached_property
    def delivery_limit(self) -> int | None:
        """The number of times that a message may be requeued."""
        return self.arguments.get("x-delivery-limit")

    @cached_property
    def dead_letter_exchange(self) -> str | None:
        """The exchange that dead letters are published to."""
        return self.arguments.get("x-dead-letter-exchange")

    @cached_property
    def dead_letter_key(self) -> str | None:
        """The routing key of dead letters, if not their own."""
        return self.arguments.get("x-dead-letter-routing-key")

    @cached_property
    def keeps_dead_letters(self) -> bool:
        """Whether dead letters that no queue takes are stored until one does."""
        return self.counts_deliveries and self.arguments.get("x-dead-letter-strategy") == "at-least-once"

    @cached_property
    def single_active(self) -> bool:
        """Whether only one consumer at a time receives messages."""
        return bool(self.arguments.get("x-single-active-consumer"))

    @cached_property
    def counts_deliveries(self) -> bool:
        """Whether messages have the header ``x-delivery-count``."""
        return self.arguments.get("x-queue-type") == "quorum"


@dataclass(frozen=True)
class Exchange:
    """A declared exchange."""

    name: str
    type: str
    durable: bool
    auto_delete: bool
    internal: bool
    arguments: dict[str, Any] = field(hash=False)

    @property
    def alternate(self) -> str | None:
        """The exchange for messages that match no binding."""
        return self.arguments.get("alternate-exchange")


def queue_from(row: Sequence[Any]) -> Queue:
    """Return the queue of a row."""
    number, name, durable, exclusive, auto_delete, arguments, owner = row
    return Queue(number, name, bool(durable), bool(exclusive), bool(auto_delete), json.loads(arguments), owner)


def exchange_from(row: Sequence[Any]) -> Exchange:
    """Return the exchange of a row."""
    name, kind, durable, auto_delete, internal, arguments = row
    return Exchange(name, kind, bool(durable), bool(auto_delete), bool(internal), json.loads(arguments))


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
