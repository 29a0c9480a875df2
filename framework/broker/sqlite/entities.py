"""Queues and exchanges as they were declared, and what their arguments mean."""

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
        """Seconds that a message may wait."""
        return _seconds(self.arguments.get("x-message-ttl"))

    @cached_property
    def expires(self) -> float | None:
        """Seconds that the queue lives unused."""
        return _seconds(self.arguments.get("x-expires"))

    @cached_property
    def max_length(self) -> int | None:
        """How many messages may be ready."""
        return self.arguments.get("x-max-length")

    @cached_property
    def max_bytes(self) -> int | None:
        """How many bytes of bodies may be ready."""
        return self.arguments.get("x-max-length-bytes")

    @cached_property
    def limited(self) -> bool:
        """Whether the queue has a length limit."""
        return self.max_length is not None or self.max_bytes is not None

    @cached_property
    def overflow(self) -> str:
        """What happens to a message too many: ``drop-head``, ``reject-publish`` or ``reject-publish-dlx``."""
        return str(self.arguments.get("x-overflow", "drop-head"))

    @cached_property
    def max_priority(self) -> int:
        """The highest priority that counts; 0 where priorities do not."""
        return int(self.arguments.get("x-max-priority", 0))

    @cached_property
    def delivery_limit(self) -> int | None:
        """How often a message may come back."""
        return self.arguments.get("x-delivery-limit")

    @cached_property
    def dead_letter_exchange(self) -> str | None:
        """Where dead letters go."""
        return self.arguments.get("x-dead-letter-exchange")

    @cached_property
    def dead_letter_key(self) -> str | None:
        """The routing key that dead letters get, if not their own."""
        return self.arguments.get("x-dead-letter-routing-key")

    @cached_property
    def keeps_dead_letters(self) -> bool:
        """Whether dead letters that no queue takes are kept until one does."""
        return self.counts_deliveries and self.arguments.get("x-dead-letter-strategy") == "at-least-once"

    @cached_property
    def single_active(self) -> bool:
        """Whether one consumer at a time gets messages."""
        return bool(self.arguments.get("x-single-active-consumer"))

    @cached_property
    def counts_deliveries(self) -> bool:
        """Whether messages tell how often they came back."""
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
        """Where messages go that no binding wants."""
        return self.arguments.get("alternate-exchange")


def queue_from(row: Sequence[Any]) -> Queue:
    """The queue that a row of the table tells of."""
    number, name, durable, exclusive, auto_delete, arguments, owner = row
    return Queue(number, name, bool(durable), bool(exclusive), bool(auto_delete), json.loads(arguments), owner)


def exchange_from(row: Sequence[Any]) -> Exchange:
    """The exchange that a row of the table tells of."""
    name, kind, durable, auto_delete, internal, arguments = row
    return Exchange(name, kind, bool(durable), bool(auto_delete), bool(internal), json.loads(arguments))


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
