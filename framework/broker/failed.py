"""The queue of failed tasks: one durable place for what could not be done, on any broker."""

from typing import Any

from kombu import Exchange, Queue

__all__ = ["failed_queue", "without_deaths"]

#: Headers by which the broker tells of a message's deaths; a copy that kept them could be taken for one in a loop.
DEATHS = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count")


def failed_queue(name: str) -> Queue:
    """The queue of failed tasks, with its exchange; looking at it however often counts as no delivery too many."""
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000}
    return Queue(name, Exchange(name, "fanout"), queue_arguments=arguments)


def without_deaths(headers: dict[str, Any]) -> dict[str, Any]:
    """A message's headers as they were before any queue gave it up."""
    return {name: value for name, value in headers.items() if not name.startswith(DEATHS)}
