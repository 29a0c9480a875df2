"""Releases the locks of unique tasks that the broker dead-lettered, from whichever worker hears of it."""

from typing import Any

from celery import bootsteps
from celery.utils.log import get_logger
from kombu import Consumer, Queue

from framework.errors import describe
from framework.limits.admission import LOCK, unique_of
from framework.limits.unique import release

__all__ = ["ReleaseUniqueLocks"]


log = get_logger(__name__)

#: Where copies of the failed tasks go.
QUEUE_NAME = "celery.unique.ended"

#: How many of them, and seconds that they wait for a worker.
MAX_LENGTH, MESSAGE_TTL_SECONDS = 10_000, 86400


class ReleaseUniqueLocks(bootsteps.ConsumerStep):
    """Hears of every task that failed, in a worker that has unique tasks."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def get_consumers(self, channel: Any) -> list[Consumer]:
        """Called by Celery when the worker has a connection."""
        app = self.app
        if not any(unique_of(task) for task in app.tasks.values()):
            return []
        arguments = {"x-queue-type": "classic", "x-max-length": MAX_LENGTH, "x-message-ttl": MESSAGE_TTL_SECONDS * 1000}
        queue = Queue(QUEUE_NAME, app.amqp.failed_queue.exchange, queue_arguments=arguments)
        return [Consumer(channel, [queue], on_message=self._on_message, prefetch_count=10)]

    def start(self, c: Any) -> None:
        """Begin to listen."""
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
