"""Counts the redeliveries of queues that do not: classic queues, such as those with priorities.

A quorum queue counts the deliveries of a message in its header ``x-delivery-count``, and dead-letters it at its limit.
A classic queue marks a message as redelivered, no more: there the worker publishes a redelivered message again, with
that header, before it runs it.
"""

from typing import Any

from celery.utils.log import get_logger
from kombu import Queue
from kombu.common import Broadcast

from framework.celery.validation import InvalidMessage
from framework.errors import describe

__all__ = ["COUNT", "check_redelivery"]

log = get_logger(__name__)

#: The header with the number of redeliveries, as quorum queues write it.
COUNT = "x-delivery-count"


def check_redelivery(app: Any, message: Any) -> bool:
    """Count a redelivery from a queue that does not; return whether the message was published again, to be dropped.

    Raises:
        InvalidMessage: ``delivery_limit``: it was redelivered more than ``task_delivery_limit`` times.
    """
    if not message.delivery_info.get("redelivered"):
        return False
    queue = app.amqp.source_queue(message.delivery_info)
    if _counts(queue):
        return False
    before = message.headers.get(COUNT)
    count = (before if isinstance(before, int) else 0) + 1
    if count > app.conf.task_delivery_limit:
        raise InvalidMessage("delivery_limit", "each worker that ran it was lost, or requeued it", attempts=count)
    try:
        app.amqp.publish_again(message, {"exchange": "", "routing_key": queue.name}, {COUNT: count})
    except Exception as exc:
        log.warning("A redelivery from the queue %r cannot be counted: %s", queue.name, describe(exc))
        return False
    return True


def _counts(queue: Queue) -> bool:
    return isinstance(queue, Broadcast) or (queue.queue_arguments or {}).get("x-queue-type") == "quorum"
