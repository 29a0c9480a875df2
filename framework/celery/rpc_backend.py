"""Results over the broker: within the deadline of a call, and on another reply queue when its cluster node is down."""

from typing import Any
from uuid import uuid4

from amqp.exceptions import AMQPError, MessageNacked, NotFound
from celery.backends import rpc
from celery.utils.log import get_logger
from kombu.exceptions import OperationalError

from framework.broker.deadline import Deadline
from framework.broker.producer import ReliableProducer
from framework.broker.request import within_call
from framework.celery import compat
from framework.celery.fork_safety import reset_backend_after_fork
from framework.errors import describe

__all__ = ["RPCBackend", "ReplyQueueMoved"]

log = get_logger(__name__)


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


BaseBackend: Any = rpc.RPCBackend  # its stubs leave out most of it


class RPCBackend(BaseBackend):  # type: ignore[misc]
    """Celery's ``rpc://``, which accepts calls when a cluster loses a node.

    The reply queue is classic, since results are not worth the cost of a quorum, so it is kept by one node. While that
    is down, RabbitMQ answers each declaration with 404 ("home node ... is down"). Results on their way to the queue are
    lost with it, as always with ``rpc://``; calls continue with another queue.

    A result that cannot be sent decides nothing about its task, which has ended.
    """

    ResultConsumer = ReplyConsumer
    #: The reply queue that replaced the application's own; None before one was lost.
    moved_to: str | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        reset_backend_after_fork(self)

    def begin_in_child(self) -> tuple[Any, ...]:
        """Wait for no result of the parent process and name another reply queue; return what the parent owns."""
        kept: tuple[Any, ...] = self.result_consumer.detach()
        compat.forget_results(self)
        self.moved_to = None
        self.__dict__.pop("oid", None)
        return kept

    def on_task_call(self, producer: Any, task_id: str) -> None:  # noqa: ARG002
        """Declare the reply queue.

        Raises:
            ReplyQueueMoved: its node is down, and another queue was named.
            kombu.exceptions.OperationalError: the broker did not answer in time.
        """
        if compat.has_reply_queue():
            return
        try:
            ReliableProducer(producer, self._timeout).declare(self.binding)
        except NotFound:
            producer.revive(producer.connection)  # the broker closed the channel with its answer
            self.move_replies()
            raise ReplyQueueMoved from None

    def add_pending_result(self, result: Any, *args: Any, **options: Any) -> Any:
        """Wait for a result from now on; the connection for it is opened within ``task_publish_timeout``.

        Raises:
            BrokerUnreachable: the broker does not answer in time.
        """
        with within_call(self.app):
            return super().add_pending_result(result, *args, **options)

    def store_result(self, task_id: str, result: Any, state: str, *args: Any, **options: Any) -> Any:
        """Send a result to its caller within ``task_publish_timeout``, or log that it could not be sent."""
        try:
            with Deadline.within(self._timeout):
                return super().store_result(task_id, result, state, *args, **options)
        except (AMQPError, MessageNacked, OperationalError, OSError) as exc:
            log.error(  # noqa: TRY400 - no traceback: the task is not at fault
                "The result of task %s (%s) could not be sent to its caller: %s", task_id, state, describe(exc)
            )
            return result

    @property
    def _timeout(self) -> float:
        return float(self.app.conf.task_publish_timeout)

    def move_replies(self) -> None:
        """Name another reply queue, and drop the connection that waited on the old one."""
        self.moved_to = self.oid = str(uuid4())
        self.result_consumer.on_after_fork()
