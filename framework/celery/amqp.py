"""Celery's messaging, safe by default: quorum queues, confirmed publishes, delays that the broker holds."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any

import celery.app.amqp
from amqp import spec
from amqp.exceptions import AMQPError, ConsumerCancelled, PreconditionFailed
from celery.utils.log import get_logger
from kombu import Queue
from kombu.common import Broadcast

from framework.broker.connection import Connection
from framework.broker.delays import DelayedQueue, declare_due, queue_named_by, route
from framework.broker.producer import ReliableProducer
from framework.broker.queues import CLASSIC_ARGUMENTS
from framework.celery import compat
from framework.celery.broker_errors import mismatch_error
from framework.celery.calls import check_size
from framework.discovery.catalog import TaskInfo, resolve
from framework.failures.headers import strip_death_headers
from framework.failures.queue import failed_queue
from framework.progress.tracking import report_call

__all__ = ["AMQP", "Queues", "TaskConsumer"]

log = get_logger(__name__)


class Queues(celery.app.amqp.Queues):
    """The task queues; each gets our arguments where its own do not say otherwise."""

    #: The arguments of each durable queue, as far as its type knows them; from the application's configuration.
    arguments: dict[str, Any] = {}  # noqa: RUF012

    def __setitem__(self, name: str, queue: Queue) -> None:
        super().__setitem__(name, queue)
        queue.queue_arguments = _merged(queue, self.arguments)


def _merged(queue: Queue, ours: dict[str, Any]) -> dict[str, Any] | None:
    theirs = queue.queue_arguments or {}
    known = {"quorum": ours.keys(), "classic": CLASSIC_ARGUMENTS}.get(_type(queue, theirs), ())
    merged = {name: value for name, value in ours.items() if name in known}
    # An argument that the declaration sets to None is left out, so that an existing queue can stay as it is.
    return {name: value for name, value in {**merged, **theirs}.items() if value is not None} or None


def _type(queue: Queue, theirs: dict[str, Any]) -> str:
    """Return the type of a task queue; ``temporary`` for one that ends with its connection or its consumers."""
    if not queue.durable or queue.exclusive or queue.auto_delete or isinstance(queue, Broadcast):
        return "temporary"
    # A quorum queue cannot be declared with a highest priority.
    has_priorities = queue.as_dict()["max_priority"] or theirs.get("x-max-priority")
    return theirs.get("x-queue-type", "classic" if has_priorities else "quorum") or "classic"


class TaskConsumer(compat.TaskConsumer):
    """The consumer of a worker, which consumes again where the server cancels it.

    RabbitMQ does so when a queue was deleted and, from 4.3 on, when a message was unacknowledged for longer than the
    consumer timeout. With another connection the worker would stop all its tasks, and they would run again.
    """

    #: The exchange of the failed-task queue.
    failed_exchange: str

    def on_server_cancel(self, queue: Any, tag: str) -> None:
        """Consume the queue again, on the same channel.

        Raises:
            amqp.exceptions.ConsumerCancelled: that was not possible; the worker then connects again.
        """
        log.warning("The broker cancelled the consumer of the queue %r, which is consumed again", queue.name)
        try:
            # RabbitMQ 4.3.0 to 4.3.6 keep delivering to a consumer that they have cancelled until it replies:
            # https://github.com/rabbitmq/rabbitmq-server/releases/tag/v4.3.7
            self.channel.basic_cancel(tag, nowait=True)
            self.consume_again(queue)
            self.bind_delayed(queue)
        except (AMQPError, OSError) as exc:
            raise ConsumerCancelled(tag, spec.Basic.Cancel) from exc

    def bind_delayed(self, queue: Any) -> None:
        """Have a queue receive its delayed tasks: one that was deleted has lost the binding for them."""
        if not isinstance(queue, Broadcast):
            declare_due(queue.name, self.failed_exchange, self.channel)


class AMQP(celery.app.amqp.AMQP):
    """Celery's messaging, with quorum queues, confirmed publishes and delays on the broker."""

    Connection = Connection
    Consumer = TaskConsumer

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        #: The queue of each consumer tag of this process. A message of an earlier connection has a tag of that one.
        self._queue_names: dict[str, str] = {}

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
            if _has_expiry(message):
                options["expiration"] = None  # the worker ends it, and reports so; the broker would drop it in silence
            if options.get("headers"):  # a retry has those of the message that ran
                options["headers"] = strip_death_headers(options["headers"])
            if (queue := self._queue_of(options)) is not None:
                seconds = (not_before - datetime.now(UTC)).total_seconds() if not_before else 0.0
                target = self._delayed_for(queue, options) if seconds > 0 else None
                options |= self._delay_options(target, seconds) if target else {"declare": [self.failed_queue, queue]}
            info = task_info or resolve(self.app, name) or TaskInfo(name)
            with report_call(self.app, info, message.headers):
                check = partial(check_size, name, self.app.conf.task_message_max_bytes)
                reliable = ReliableProducer(producer, self.app.conf.task_publish_timeout, check)
                return send(reliable, name, message, **options)

        return send_safely

    def delay_message(self, message: Any, eta: datetime) -> None:
        """Publish a message that came too early to the delay queues until ``eta``; confirmed when this returns."""
        seconds = max((eta - datetime.now(UTC)).total_seconds(), 0.001)
        route_options = self._delay_options(self.source_queue(message.delivery_info), seconds)
        self.publish_again(message, {name: route_options[name] for name in ("exchange", "routing_key", "declare")})

    def publish_again(self, message: Any, route_options: dict[str, Any], headers: dict[str, Any] | None = None) -> None:
        """Publish a received message once more, with additional ``headers``; confirmed when this returns."""
        properties = {**message.properties}
        properties.pop("application_headers", None)
        milliseconds = properties.pop("expiration", None)
        if milliseconds is not None and not message.headers.get("expires"):
            properties["expiration"] = int(milliseconds) / 1000
        with self.app.producer_or_acquire() as producer:
            ReliableProducer(producer, self.app.conf.task_publish_timeout).publish(
                getattr(message, "sent_body", message.body),
                headers={**strip_death_headers(message.headers), **(headers or {})},
                **route_options,
                **properties,
            )

    def TaskConsumer(self, channel: Any, *args: Any, **options: Any) -> Any:  # noqa: N802
        """Return the consumer of a worker, after declaring the failed-task queue and the ends of delays.

        Raises:
            QueueMismatch: a queue or an exchange exists with other arguments.
        """
        try:
            self.failed_queue(channel).declare()
            consumer: Any = super().TaskConsumer(channel, *args, **options)
            consumer.queue_names, consumer.failed_exchange = self._queue_names, self.failed_queue.exchange.name
            for queue in consumer.queues:
                consumer.bind_delayed(queue)
        except PreconditionFailed as exc:
            raise mismatch_error(self.app, exc) or exc from None
        return consumer

    def _delay_options(self, queue: Queue, seconds: float) -> dict[str, Any]:
        exchange, key = route(seconds, queue.name)
        declare = [self.failed_queue, DelayedQueue(queue, self.failed_queue.exchange.name)]
        return {"exchange": exchange, "routing_key": key, "queue": None, "declare": declare}

    def _queue_of(self, options: dict[str, Any]) -> Queue | None:
        """Return the task queue that a message is for; None where it goes to an exchange, which may have many."""
        queue = options.get("queue")
        if queue is None and options.get("exchange") is None:
            queue = self.default_queue
        if isinstance(queue, str):
            queue = self.queues[queue]
        return None if isinstance(queue, Broadcast) else queue

    def _delayed_for(self, queue: Queue, options: dict[str, Any]) -> Queue | None:
        """Return the queue that a delayed message is for; None where an exchange decides, and so its worker delays it.

        Args:
            queue: The queue that Celery's router names, whether or not the call names an exchange.
            options: The options of the call.
        """
        exchange, key = options.get("exchange"), options.get("routing_key")
        if not (exchange and key):
            return queue
        name = queue_named_by(getattr(exchange, "name", exchange), key)  # of a delayed task that is retried
        return self.queues.get(name)

    def source_queue(self, delivery_info: dict[str, Any]) -> Queue:
        """Return the queue of this worker that a message was delivered from.

        Where its consumer is not known, as for one that was got without a consumer, its routing decides.
        """
        consumed = self.queues.consume_from
        exchange, key = delivery_info["exchange"], delivery_info["routing_key"]
        consumer_of = self._queue_names.get(delivery_info.get("consumer_tag", ""), "")
        bound = (queue for queue in consumed.values() if (queue.exchange.name, queue.routing_key) == (exchange, key))
        return (
            self.queues.get(consumer_of)
            or consumed.get(queue_named_by(exchange, key))
            or next(bound, None)
            or next(iter(consumed.values()))
        )


def _has_expiry(message: Any) -> bool:
    """Return whether a task's message, of either of Celery's protocols, has its expiry for the worker to read."""
    in_body = message.body if isinstance(message.body, dict) else {}  # protocol 1
    return bool(message.headers.get("expires") or in_body.get("expires"))
