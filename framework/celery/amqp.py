"""Celery's messaging, safe by default: quorum queues, confirmed publishes, delays that the broker holds."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import celery.app.amqp
from amqp import spec
from amqp.exceptions import AMQPError, ConsumerCancelled, PreconditionFailed
from celery.utils.log import get_logger
from kombu import Queue
from kombu.common import Broadcast

from framework.broker.delays import DelayedQueue, queue_named_by, route
from framework.broker.producer import ReliableProducer
from framework.celery import compat
from framework.celery.broker_errors import mismatch_error
from framework.discovery.catalog import TaskInfo, resolve
from framework.failures.headers import strip_death_headers
from framework.failures.queue import failed_queue
from framework.progress.tracking import report_call

__all__ = ["AMQP", "Queues", "TaskConsumer"]

log = get_logger(__name__)


class Queues(celery.app.amqp.Queues):
    """The task queues; each gets our arguments where its own do not say otherwise."""

    #: The arguments of each durable queue without a type; the application sets them from its configuration.
    arguments: dict[str, Any] = {}  # noqa: RUF012

    def __setitem__(self, name: str, queue: Queue) -> None:
        super().__setitem__(name, queue)
        queue.queue_arguments = _merged(queue, self.arguments)


def _merged(queue: Queue, ours: dict[str, Any]) -> dict[str, Any] | None:
    theirs = queue.queue_arguments or {}
    merged = ours if _may_be_quorum(queue, theirs) else {}
    # An argument that the declaration sets to None is left out, so that an existing queue can stay as it is.
    return {name: value for name, value in {**merged, **theirs}.items() if value is not None} or None


def _may_be_quorum(queue: Queue, theirs: dict[str, Any]) -> bool:
    # A temporary queue, or one with priorities, cannot be a quorum queue; another type was chosen.
    if not queue.durable or queue.exclusive or queue.auto_delete or isinstance(queue, Broadcast):
        return False
    priorities = queue.as_dict()["max_priority"] or theirs.get("x-max-priority")
    return not priorities and theirs.get("x-queue-type", "quorum") == "quorum"


class TaskConsumer(compat.TaskConsumer):
    """The consumer of a worker, which consumes again where the server cancels it.

    RabbitMQ does so when a queue was deleted and, from 4.3 on, when a message was unacknowledged for longer than the
    consumer timeout. With another connection the worker would stop all its tasks, and they would run again.
    """

    def on_server_cancel(self, queue: Any, tag: str) -> None:
        """Consume the queue again, on the same channel.

        Raises:
            amqp.exceptions.ConsumerCancelled: that was not possible; the worker then connects anew.
        """
        log.warning("The broker cancelled the consumer of the queue %r, which is consumed again", queue.name)
        try:
            # RabbitMQ 4.3.0 to 4.3.6 keep delivering to a consumer that they have cancelled until it replies:
            # https://github.com/rabbitmq/rabbitmq-server/releases/tag/v4.3.7
            self.channel.basic_cancel(tag, nowait=True)
            self.consume_again(queue)
        except (AMQPError, OSError) as exc:
            raise ConsumerCancelled(tag, spec.Basic.Cancel) from exc


class AMQP(celery.app.amqp.AMQP):
    """Celery's messaging, with quorum queues, confirmed publishes and delays on the broker."""

    Consumer = TaskConsumer

    def queues_cls(self, queues: Any, **options: Any) -> Any:  # type: ignore[override]
        """Return the task queues of this application."""
        conf = self.app.conf
        kind = type(
            "Queues",
            (Queues,),
            {
                "arguments": {
                    "x-queue-type": "quorum",
                    "x-delivery-limit": conf.task_delivery_limit,
                    "x-dead-letter-exchange": conf.task_failed_queue,
                    "x-dead-letter-strategy": "at-least-once",
                    "x-overflow": "reject-publish",
                }
            },
        )
        return kind(queues, **options)

    def as_task_v2(self, *args: Any, not_before: datetime | None = None, **options: Any) -> Any:
        """Return a task's message; ``not_before`` is its eta, which `send_task_message` has the broker wait for."""
        options.pop("task_info", None)
        message = super().as_task_v2(*args, **options)
        if not_before is not None:
            message.headers["eta"] = not_before.isoformat()
        return message

    @cached_property
    def failed_queue(self) -> Queue:
        """The failed-task queue, which takes the dead letters of every task queue."""
        return failed_queue(str(self.app.conf.task_failed_queue))

    @cached_property
    def send_task_message(self) -> Callable[..., Any]:
        """The function that publishes a task's message and returns once the broker has confirmed it."""
        send = super().send_task_message

        def send_safely(
            producer: Any,
            name: str,
            message: Any,
            *,
            not_before: datetime | None = None,
            task_info: TaskInfo | None = None,
            **options: Any,
        ) -> Any:
            if (queue := self._queue_of(options)) is not None:
                seconds = (not_before - datetime.now(UTC)).total_seconds() if not_before else 0.0
                options |= (
                    self._delay_options(queue, seconds) if seconds > 0 else {"declare": [self.failed_queue, queue]}
                )
            info = task_info or resolve(self.app, name) or TaskInfo(name)
            with report_call(self.app, info, message.headers):
                return send(ReliableProducer(producer, self.app.conf.task_publish_timeout), name, message, **options)

        return send_safely

    def delay_message(self, message: Any, eta: datetime) -> None:
        """Publish a message that came too early to the delay queues until ``eta``; confirmed when this returns."""
        seconds = max((eta - datetime.now(UTC)).total_seconds(), 0.001)
        route_options = self._delay_options(self.source_queue(message.delivery_info), seconds)
        properties = {**message.properties}
        properties.pop("application_headers", None)
        with self.app.producer_or_acquire() as producer:
            ReliableProducer(producer, self.app.conf.task_publish_timeout).publish(
                message.body,
                headers=strip_death_headers(message.headers),
                **{name: route_options[name] for name in ("exchange", "routing_key", "declare")},
                **properties,
            )

    def TaskConsumer(self, channel: Any, *args: Any, **options: Any) -> Any:  # noqa: N802
        """Return the consumer of a worker, after declaring the failed-task queue.

        Raises:
            QueueMismatch: a queue exists with other arguments.
        """
        try:
            self.failed_queue(channel).declare()
            return super().TaskConsumer(channel, *args, **options)
        except PreconditionFailed as exc:
            raise mismatch_error(self.app, exc) or exc from None

    def _delay_options(self, queue: Queue, seconds: float) -> dict[str, Any]:
        exchange, key = route(seconds, queue.name)
        declare = [self.failed_queue, DelayedQueue(queue)]
        return {"exchange": exchange, "routing_key": key, "queue": None, "declare": declare}

    def _queue_of(self, options: dict[str, Any]) -> Queue | None:
        """Return the task queue that a message is for; None where it goes to an exchange, which may have many."""
        queue = options.get("queue")
        if queue is None and options.get("exchange") is None:
            queue = self.default_queue
        if isinstance(queue, str):
            queue = self.queues[queue]
        return None if isinstance(queue, Broadcast) else queue

    def source_queue(self, delivery_info: dict[str, Any]) -> Queue:
        """Return the queue of this worker that a message was delivered from, as far as its routing says."""
        consumed = self.queues.consume_from
        name = queue_named_by(delivery_info["exchange"], delivery_info["routing_key"])
        bound = (
            queue
            for queue in consumed.values()
            if (queue.exchange.name, queue.routing_key) == (delivery_info["exchange"], delivery_info["routing_key"])
        )
        return consumed.get(name) or next(bound, None) or next(iter(consumed.values()))
