"""A worker step that releases the locks of unique tasks that failed."""

from typing import Any

from celery import bootsteps
from celery.utils.log import get_logger
from kombu import Consumer, Queue

from framework.errors import describe
from framework.limits.admission import LOCK, unique_of
from framework.limits.unique import release

__all__ = ["ReleaseUniqueLocks"]


log = get_logger(__name__)

#: The queue with copies of the failed tasks.
QUEUE_NAME = "celery.unique.ended"

#: How many of them it holds, and for how many seconds.
MAX_LENGTH, MESSAGE_TTL_SECONDS = 10_000, 86400


class ReleaseUniqueLocks(bootsteps.ConsumerStep):
    """Consumes copies of all failed tasks, in a worker that has unique tasks; releases their locks.

    A task that the broker dead-letters (its worker was killed too often, say) has no worker left to release its lock.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def get_consumers(self, channel: Any) -> list[Consumer]:
        """Return the consumer of the queue; Celery calls this when the worker has a connection."""
        app = self.app
        if not any(unique_of(task) for task in app.tasks.values()):
            return []
        arguments = {"x-queue-type": "classic", "x-max-length": MAX_LENGTH, "x-message-ttl": MESSAGE_TTL_SECONDS * 1000}
        queue = Queue(QUEUE_NAME, app.amqp.failed_queue.exchange, queue_arguments=arguments)
        return [Consumer(channel, [queue], on_message=self._on_message, prefetch_count=10)]

    def start(self, c: Any) -> None:
        """Start to consume."""
        self.app = c.app
        super().start(c)

    def _on_message(self, message: Any) -> None:
        lock, task_id = message.headers.get(LOCK), message.headers.get("id")
        if isinstance(lock, str) and isinstance(task_id, str):
            try:
                release(self.app, lock, task_id)
            except Exception as exc:
                log.warning("The lock of %s stays until it expires: %s", task_id, describe(exc))
        message.ack()
