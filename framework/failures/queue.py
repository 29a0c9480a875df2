"""The failed-task queue, which stores tasks that failed for good."""

from kombu import Exchange, Queue

from framework.broker.queues import RETAINING

__all__ = ["failed_queue"]


def failed_queue(name: str) -> Queue:
    """Return the failed-task queue with its exchange; reading it any number of times reaches no delivery limit."""
    return Queue(name, Exchange(name, "fanout"), queue_arguments=dict(RETAINING))
