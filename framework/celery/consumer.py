"""The worker's consumer: it survives every message, and stores those it cannot run as failed tasks."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import get_ident
from traceback import format_exc
from types import SimpleNamespace
from typing import Any

import celery.worker.consumer
from celery import signals
from celery.exceptions import InvalidTaskError, NotRegistered, WorkerShutdown
from celery.platforms import EX_FAILURE
from celery.utils.log import get_logger
from kombu.exceptions import ContentDisallowed
from kombu.transport import pyamqp

from framework.broker.frames import UNREADABLE, tolerate_unreadable
from framework.celery.heartbeats import Heartbeats
from framework.celery.redelivery import check_redelivery
from framework.celery.validation import IncomingMessage, InvalidMessage, Limits, check_body, validate
from framework.errors import QueueMismatch, describe
from framework.failures.recorder import record_failure

__all__ = ["Consumer"]

log = get_logger(__name__)

#: How long a task may wait in the worker for its eta; the broker holds it for longer ones.
LONGEST_LOCAL_WAIT = timedelta(seconds=2)

#: Seconds until a message is retried that could neither be run nor stored.
RETRY_DELAY_SECONDS = 1.0

# The application declares its delay queues when it publishes; this step would declare Celery's too.
DELAYED_DELIVERY = "celery.worker.consumer.delayed_delivery:DelayedDelivery"


# Its stubs leave out most of it.
Base: Any = celery.worker.consumer.Consumer


class Consumer(Base):  # type: ignore[misc]
    """Celery's consumer, which validates each message first.

    A message that cannot be run is stored as a failed task with a reason, then acknowledged: it follows no protocol of
    Celery (``malformed``), cannot be decoded (``undecodable``), has a content type or compression that is not in use
    (``refused``), is too large (``too-large``) or too far in the future (``too-far``), names no task of this worker
    (``unregistered``), or is one that Celery refuses (``invalid``).
    """

    class Blueprint(Base.Blueprint):  # type: ignore[misc]
        """Celery's steps, except its delayed delivery."""

        default_steps = tuple(step for step in Base.Blueprint.default_steps if step != DELAYED_DELIVERY)

    def __init__(self, *args: Any, app: Any = None, **options: Any) -> None:
        in_use = (app.conf.task_compression, *(getattr(task, "compression", None) for task in app.tasks.values()))
        self.limits = Limits.of(app.conf.task_message_max_bytes, in_use)
        self._loop_thread: int | None = None
        super().__init__(*args, app=app, **options)
        if self.hub and self.amqheartbeat and not self.pool.uses_semaphore:  # prefork's tasks run elsewhere
            heartbeats = Heartbeats(self._connections, self.amqheartbeat)
            self.on_task_request: Callable[[Any], Any] = heartbeats.during(self.on_task_request)

    def start(self) -> None:
        """Consume until the worker is stopped, or can never start."""
        try:
            super().start()
        except QueueMismatch as exc:
            log.critical("%s", exc.message)
            raise WorkerShutdown(EX_FAILURE) from None

    def connection_for_read(self, heartbeat: float | None = None) -> Any:
        """Return a connection to consume from, which survives headers that cannot be read."""
        connection = self.app.connection_for_read(heartbeat=heartbeat)
        tolerate_unreadable(connection)
        return self.ensure_connected(connection)

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Any], None]:
        """Return the function that is called with each message."""
        self._loop_thread = get_ident()
        channel = self.task_consumer.channel
        if getattr(channel, "Message", None) is pyamqp.Message:
            channel.Message = partial(IncomingMessage, limits=self.limits)
        run = super().create_task_handler(*args, **options)

        def on_task_received(message: Any) -> None:
            try:
                if check_redelivery(self.app, message):
                    message.ack_log_error(log, self.connection_errors)
                    return
                eta = self._validated(message)
                if eta is None or eta < datetime.now(UTC) + LONGEST_LOCAL_WAIT or not self._requeue_until(message, eta):
                    run(message)
            except self.connection_errors + self.channel_errors:
                raise
            except InvalidMessage as fault:
                self.store_invalid(message, fault)
            except Exception as exc:
                log.exception("A message could not be handled")
                self.store_invalid(message, InvalidMessage("invalid", describe(exc)), format_exc())

        return on_task_received

    def _connections(self) -> list[Any]:
        return [self.connection, self.event_dispatcher.connection if self.event_dispatcher else None]

    def _validated(self, message: Any) -> datetime | None:
        if UNREADABLE in message.headers:
            raise InvalidMessage("undecodable", "its properties cannot be read")
        if not isinstance(message, IncomingMessage):
            check_body(message.body, {}, self.limits)
        return validate(message.headers, self._payload(message))

    def _payload(self, message: Any) -> object:
        try:
            return message.payload
        except ContentDisallowed as exc:
            raise InvalidMessage("refused", f"its content type is not in accept_content: {exc}") from exc
        except Exception as exc:
            raise InvalidMessage("undecodable", f"its body cannot be decoded: {describe(exc)}") from exc

    def _requeue_until(self, message: Any, eta: datetime) -> bool:
        """Have the broker hold a message until ``eta``; return False where it cannot, and the worker has to."""
        try:
            self.app.amqp.delay_message(message, eta)
        except Exception as exc:
            log.warning("A task waits for its eta in this worker, since the broker cannot hold it: %s", describe(exc))
            return False
        message.ack_log_error(log, self.connection_errors)
        return True

    def store_invalid(self, message: Any, fault: InvalidMessage, traceback: str = "") -> None:
        """Store a message that cannot be run as a failed task, then acknowledge it."""
        if message.acknowledged:
            return
        name = _summary(message)
        try:
            record_failure(
                self.app,
                message,
                reason=fault.reason,
                error=fault.sentence,
                traceback=traceback,
                attempts=fault.attempts,
                worker=self.hostname,
            )
        except Exception:
            log.exception(
                "%s cannot be run (%s), nor stored in %s", name, fault.sentence, self.app.conf.task_failed_queue
            )
            self._reject(message)
            return
        message.ack_log_error(log, self.connection_errors)
        log.error("%s cannot be run and is stored in %s: %s.", name, self.app.conf.task_failed_queue, fault.sentence)

    def _reject(self, message: Any) -> None:
        """Dead-letter a message where its queue has an exchange for that; else requeue it, after a delay."""
        queues = self.task_consumer.queues if self.task_consumer else []
        if all("x-dead-letter-exchange" in (queue.queue_arguments or {}) for queue in queues):
            message.reject_log_error(log, self.connection_errors)
        else:
            requeue = partial(message.reject_log_error, log, self.connection_errors, requeue=True)
            self.timer.call_after(RETRY_DELAY_SECONDS, partial(self.call_soon, requeue))

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Store a message whose body cannot be decoded or should not be."""
        fault = (
            exc
            if isinstance(exc, InvalidMessage)
            else InvalidMessage("undecodable", f"its body cannot be read: {describe(exc)}")
        )
        self.store_invalid(message, fault)

    def on_unknown_message(self, body: object, message: Any) -> None:  # noqa: ARG002
        """Store a message that names no task."""
        self.store_invalid(message, InvalidMessage("malformed", "it names no task, in its headers or its body"))
        signals.task_rejected.send(sender=self, message=message, exc=None)

    def on_invalid_task(self, body: object, message: Any, exc: Exception) -> None:  # noqa: ARG002
        """Store a message that Celery refuses."""
        self.store_invalid(message, InvalidMessage("invalid", _text(exc)))
        signals.task_rejected.send(sender=self, message=message, exc=exc)

    def on_unknown_task(self, _body: object, message: Any, exc: Exception) -> None:
        """Store a message of a task that this worker does not have, and report that to its caller."""
        body = message.payload if isinstance(message.payload, dict) else {}
        fields = {**body, **message.headers}
        name, number = fields["task"], fields["id"]
        fix = "has this worker the code of its caller?"
        self.store_invalid(message, InvalidMessage("unregistered", f"no task of this worker is called {name!a}; {fix}"))
        self._report_to_caller(message, number, NotRegistered(name))
        if self.event_dispatcher:
            self.event_dispatcher.send("task-failed", uuid=number, exception=f"NotRegistered({name!r})")
        signals.task_unknown.send(sender=self, message=message, exc=exc, name=name, id=number)

    def _report_to_caller(self, message: Any, number: str, exc: NotRegistered) -> None:
        request = SimpleNamespace(
            name=str(exc),
            chord=None,
            errbacks=None,
            root_id=message.headers.get("root_id"),
            correlation_id=message.properties.get("correlation_id"),
            reply_to=message.properties.get("reply_to"),
        )
        self.app.backend.mark_as_failure(number, exc, request=request)

    def call_soon_ack(self, p: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Acknowledge at once where that is safe.

        Celery's worker does so in a later turn of its event loop, after all that this turn has begun: a solo worker
        ran the tasks it had fetched first, and ran all of them again when it was killed in the last.
        """
        if self.hub is None or get_ident() != self._loop_thread:
            return super().call_soon_ack(p, *args, **options)
        return p(*args, **options)


def _summary(message: Any) -> str:
    """Return a message as the log names it: short, on one line, and without its arguments."""
    number, name = message.headers.get("id"), message.headers.get("task")
    return f"The message {str(number)[:64]!a} for {str(name)[:128]!a}"


def _text(exc: Exception) -> str:
    return str(exc) if isinstance(exc, InvalidTaskError) and str(exc) else describe(exc)
