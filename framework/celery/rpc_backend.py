"""Results over the broker, also when the node that kept the queue of replies is gone from a cluster."""

from typing import Any
from uuid import uuid4

from amqp.exceptions import NotFound
from celery.backends import rpc

from framework.celery import compat

__all__ = ["RPCBackend", "ReplyQueueMoved"]


class ReplyQueueMoved(Exception):
    """Nothing was published: the call has to name the new queue of replies."""


class ReplyConsumer(compat.ResultConsumer):
    """Waits for results, on another queue once the old one cannot be had."""

    def reconnect(self) -> None:
        """Consume the pending results again; on another queue where the node that kept it is down."""
        try:
            super().reconnect()
        except NotFound:
            self.backend.move_replies()
            self.start("", no_ack=self.no_ack)


class RPCBackend(rpc.RPCBackend):
    """Celery's ``rpc://``, which no longer refuses calls when a cluster loses a node.

    The queue of replies is a classic one, since results are not worth a quorum's cost, so it lives on one node, and
    RabbitMQ answers 404 ("home node ... is down") to whoever declares it meanwhile. Results on the way to it are lost,
    as ``rpc://`` always loses them with their queue; calls go on, with another queue.
    """

    ResultConsumer = ReplyConsumer
    #: The queue that took the place of the application's own; None before any was lost.
    moved_to: str | None = None

    def on_task_call(self, producer: Any, task_id: str) -> None:
        """Declare the queue of replies.

        Raises:
            ReplyQueueMoved: it cannot be had, and another one was named.
        """
        try:
            super().on_task_call(producer, task_id)
        except NotFound:
            producer.revive(producer.connection)  # the broker closed the channel with its answer
            self.move_replies()
            raise ReplyQueueMoved from None

    def move_replies(self) -> None:
        """Name another queue, and leave the connection that waited on the old one."""
        self.moved_to = self.oid = str(uuid4())
        self.result_consumer.on_after_fork()  # type: ignore[attr-defined]
