"""Declares the failed-task queue: one durable place, on any broker, for tasks that failed for good."""

from kombu import Exchange, Queue

from framework.broker.queues import RETAINING

__all__ = ["failed_queue"]


def failed_queue(name: str) -> Queue:
    """The queue of failed tasks, with its exchange; looking at it however often counts as no delivery too many."""
    return Queue(name, Exchange(name, "fanout"), queue_arguments=dict(RETAINING))
