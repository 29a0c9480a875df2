"""How tasks reach the broker: confirmed, into queues that lose nothing, and held there until their time has come."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import celery.app.amqp
from amqp.exceptions import PreconditionFailed
from kombu import Queue
from kombu.common import Broadcast

from framework.broker.delays import DelayedQueue, queue_named_by, route
from framework.broker.producer import ReliableProducer
from framework.celery.broker_errors import mismatch_error
from framework.discovery.catalog import TaskInfo, resolve
from framework.failures.headers import strip_death_headers
from framework.failures.queue import failed_queue
from framework.progress.tracking import report_call

__all__ = ["AMQP", "Queues"]


class Queues(celery.app.amqp.Queues):
    """The task queues, each with the arguments that make it lose nothing, where it does not say otherwise itself."""

    #: What every durable queue that names no type becomes; the application sets it from its configuration.
    arguments: dict[str, Any] = {}  # noqa: RUF012

    def __setitem__(self, name: str, queue: Queue) -> None:
        super().__setitem__(name, queue)
        queue.queue_arguments = _kept(queue, self.arguments)


def _kept(queue: Queue, ours: dict[str, Any]) -> dict[str, Any] | None:
    theirs = queue.queue_arguments or {}
    merged = ours if _may_be_quorum(queue, theirs) else {}
    # What its owner says to be None is left out: so a queue that exists without one of ours can stay as it is.
    return {name: value for name, value in {**merged, **theirs}.items() if value is not None} or None


def _may_be_quorum(queue: Queue, theirs: dict[str, Any]) -> bool:
    # What goes with its connection, or has priorities, cannot be a quorum queue; another type is its owner's wish.
    if not queue.durable or queue.exclusive or queue.auto_delete or isinstance(queue, Broadcast):
        return False
    priorities = queue.as_dict()["max_priority"] or theirs.get("x-max-priority")
    return not priorities and theirs.get("x-queue-type", "quorum") == "quorum"


class AMQP(celery.app.amqp.AMQP):
    """Celery's messaging, safe by default."""

    def queues_cls(self, queues: Any, **options: Any) -> Any:  # type: ignore[override]
        """The task queues of this application."""
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
        """The queue of failed tasks, where dead letters of every task queue go."""
        return failed_queue(str(self.app.conf.task_failed_queue))

    @cached_property
    def send_task_message(self) -> Callable[..., Any]:
        """The function that publishes a task's message and returns when the broker has it on disk."""
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
                options |= self._way_to(queue, seconds) if seconds > 0 else {"declare": [self.failed_queue, queue]}
            info = task_info or resolve(self.app, name) or TaskInfo(name)
            with report_call(self.app, info, message.headers):
                return send(ReliableProducer(producer, self.app.conf.task_publish_timeout), name, message, **options)

        return send_safely

    def delay_message(self, message: Any, eta: datetime) -> None:
        """Hand a message that came too early back to the broker, until ``eta``; confirmed when this returns."""
        seconds = max((eta - datetime.now(UTC)).total_seconds(), 0.001)
        way = self._way_to(self.queue_it_came_from(message.delivery_info), seconds)
        properties = {**message.properties}
        properties.pop("application_headers", None)
        with self.app.producer_or_acquire() as producer:
            ReliableProducer(producer, self.app.conf.task_publish_timeout).publish(
                message.body,
                headers=strip_death_headers(message.headers),
                **{name: way[name] for name in ("exchange", "routing_key", "declare")},
                **properties,
            )

    def TaskConsumer(self, channel: Any, *args: Any, **options: Any) -> Any:  # noqa: N802
        """The consumer of a worker; where its dead letters go is declared first.

        Raises:
            QueueMismatch: a queue exists with other arguments.
        """
        try:
            self.failed_queue(channel).declare()
            return super().TaskConsumer(channel, *args, **options)
        except PreconditionFailed as exc:
            raise mismatch_error(self.app, exc) or exc from None

    def _way_to(self, queue: Queue, seconds: float) -> dict[str, Any]:
        exchange, key = route(seconds, queue.name)
        declare = [self.failed_queue, DelayedQueue(queue)]
        return {"exchange": exchange, "routing_key": key, "queue": None, "declare": declare}

    def _queue_of(self, options: dict[str, Any]) -> Queue | None:
        """The task queue that a message is for; None where it goes to an exchange that may have many."""
        queue = options.get("queue")
        if queue is None and options.get("exchange") is None:
            queue = self.default_queue
        if isinstance(queue, str):
            queue = self.queues[queue]
        return None if isinstance(queue, Broadcast) else queue

    def queue_it_came_from(self, delivery_info: dict[str, Any]) -> Queue:
        """The queue of this worker that a message was delivered from, as far as its routing tells."""
        consumed = self.queues.consume_from
        name = queue_named_by(delivery_info["exchange"], delivery_info["routing_key"])
        bound = (
            queue
            for queue in consumed.values()
            if (queue.exchange.name, queue.routing_key) == (delivery_info["exchange"], delivery_info["routing_key"])
        )
        return consumed.get(name) or next(bound, None) or next(iter(consumed.values()))
