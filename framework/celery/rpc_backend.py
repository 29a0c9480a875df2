"""Results over the broker, with another reply queue when its cluster node is down."""

from typing import Any
from uuid import uuid4

from amqp.exceptions import NotFound
from celery.backends import rpc

from framework.celery import compat
from framework.celery.fork_safety import reset_backend_after_fork

__all__ = ["RPCBackend", "ReplyQueueMoved"]


class ReplyQueueMoved(Exception):
    """Nothing was published: the call has to name the new reply queue."""


class ReplyConsumer(compat.ResultConsumer):
    """Waits for results, on another queue once the old one is unavailable."""

    def reconnect(self) -> None:
        """Consume the pending results again; on another queue where the node that kept it is down."""
        try:
            super().reconnect()
        except NotFound:
            self.backend.move_replies()
            self.start("", no_ack=self.no_ack)


class RPCBackend(rpc.RPCBackend):
    """Celery's ``rpc://``, which accepts calls when a cluster loses a node.

    The reply queue is classic, since results are not worth the cost of a quorum, so it is kept by one node. While that
    is down, RabbitMQ answers each declaration with 404 ("home node ... is down"). Results on their way to the queue are
    lost with it, as always with ``rpc://``; calls continue with another queue.
    """

    ResultConsumer = ReplyConsumer
    #: The reply queue that replaced the application's own; None before one was lost.
    moved_to: str | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        reset_backend_after_fork(self)

    def begin_in_child(self) -> tuple[Any, ...]:
        """Wait for no result of the parent process and name another reply queue; return what the parent owns."""
        kept: tuple[Any, ...] = self.result_consumer.detach()  # type: ignore[attr-defined]
        compat.forget_results(self)
        self.moved_to = None
        vars(self).pop("oid", None)
        return kept

    def on_task_call(self, producer: Any, task_id: str) -> None:
        """Declare the reply queue.

        Raises:
            ReplyQueueMoved: its node is down, and another queue was named.
        """
        try:
            super().on_task_call(producer, task_id)
        except NotFound:
            producer.revive(producer.connection)  # the broker closed the channel with its answer
            self.move_replies()
            raise ReplyQueueMoved from None

    def move_replies(self) -> None:
        """Name another reply queue, and drop the connection that waited on the old one."""
        self.moved_to = self.oid = str(uuid4())
        self.result_consumer.on_after_fork()  # type: ignore[attr-defined]
