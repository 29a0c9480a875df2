"""Records a failed task from the worker into the failed-task queue."""

from typing import Any

import amqp
from amqp.exceptions import ChannelError

from framework.broker.producer import ReliableProducer
from framework.failures.headers import failed_properties, failure_headers

__all__ = ["record_failure"]


def record_failure(
    app: Any, message: Any, *, reason: str, error: str, traceback: str = "", attempts: int = 0, worker: str
) -> None:
    """Publish the message of a failed task, unchanged, with failure headers to the failed-task queue.

    When this returns, the broker has it on disk, and the message can be acknowledged.

    Raises:
        kombu.exceptions.OperationalError: the broker cannot be reached, or did not answer in time.
        amqp.exceptions.AMQPError: the broker refused it.
    """
    queue = app.amqp.source_queue(message.delivery_info).name
    why = failure_headers(
        reason=reason, error=error, traceback=traceback, attempts=attempts, worker=worker, queue=queue
    )
    copy = amqp.Message(getattr(message, "sent_body", message.body), **failed_properties(message.properties, why))
    with app.producer_or_acquire() as producer:
        producer = ReliableProducer(_RawProducer(producer, app.amqp.failed_queue), app.conf.task_publish_timeout)
        try:
            producer.publish(copy, declare=[app.amqp.failed_queue])
        except ChannelError:  # the queue was declared before and deleted since: the second publish declares it again
            producer.publish(copy, declare=[app.amqp.failed_queue])


class _RawProducer:
    """A producer that publishes messages unchanged to one queue's exchange; kombu's would encode them again."""

    def __init__(self, producer: Any, queue: Any) -> None:
        self._producer = producer
        self._queue = queue
        self.connection = producer.connection
        self.revive = producer.revive
        self.maybe_declare = producer.maybe_declare

    @property
    def channel(self) -> Any:
        return self._producer.channel

    def publish(self, message: amqp.Message, *, mandatory: bool, confirm_timeout: float, **_: Any) -> None:
        self.channel.basic_publish(
            message,
            exchange=self._queue.exchange.name,
            mandatory=mandatory,
            confirm_timeout=confirm_timeout,
        )
