"""Converts errors of the broker into the framework's own: which broker, what it said, and the fix."""

from collections.abc import Iterator
from contextlib import contextmanager

import amqp
from amqp.exceptions import AccessRefused, AMQPError, NotAllowed
from celery import Celery
from kombu import Queue
from kombu.exceptions import OperationalError

from framework.broker.producer import Unconfirmed
from framework.broker.queue_diff import FLAGS, Difference, Refusal, differences
from framework.broker.queues import CLASSIC_ARGUMENTS
from framework.broker.url import sanitized
from framework.errors import (
    BrokerError,
    BrokerRefused,
    BrokerUnreachable,
    FrameworkError,
    MessageRefused,
    NotConfirmed,
    QueueMismatch,
)

__all__ = ["converting_errors", "declared_queue", "mismatch_error", "queue_mismatch"]


@contextmanager
def converting_errors(app: Celery, task_id: str = "") -> Iterator[None]:
    """Convert an error of a publish inside into one that names the broker and the fix."""
    try:
        yield
    except FrameworkError:
        raise
    except (OperationalError, AMQPError, OSError) as exc:
        url = sanitized(app.conf.broker_write_url)
        cause = exc.__cause__ if isinstance(exc, OperationalError) and exc.__cause__ else exc
        if isinstance(exc, Unconfirmed):
            raise NotConfirmed.by(url, cause, task_id) from None
        if isinstance(cause, AccessRefused | NotAllowed):
            raise BrokerRefused.by(url, cause) from None
        if isinstance(cause, OSError | OperationalError | amqp.ConnectionError):
            raise BrokerUnreachable.at(url, cause) from None
        if isinstance(cause, amqp.exceptions.MessageNacked):
            raise MessageRefused.by(url) from None
        if (error := mismatch_error(app, cause)) is not None:
            raise error from None
        raise BrokerError(f"The broker {url} did not take the message: {cause}. Nothing was queued.") from exc


def mismatch_error(app: Celery, cause: BaseException) -> QueueMismatch | None:
    """Return the error for a refused declaration; None where ``cause`` is another error."""
    refusal = Refusal.from_error(cause)
    if refusal is None:
        return None
    if refusal.kind == "queue" and (queue := declared_queue(app, refusal.name)) is not None:
        return queue_mismatch(app, queue, refusal.difference)
    fix = "Delete it while nothing uses it; the next call or worker declares it."
    return QueueMismatch.of(
        f"{refusal.kind} {refusal.name!r}", sanitized(app.conf.broker_write_url), [refusal.difference], fix
    )


def declared_queue(app: Celery, name: str) -> Queue | None:
    """Return the queue of that name as the application declares it; None where it declares none."""
    failed: Queue = app.amqp.failed_queue  # type: ignore[attr-defined]
    return failed if name == failed.name else app.amqp.queues.get(name)


def queue_mismatch(app: Celery, queue: Queue, first: Difference | None = None) -> QueueMismatch | None:
    """Return the error for a queue, with each argument that differs; None where none does, or it does not exist.

    Args:
        app: The application that declares it.
        queue: The queue as the application declares it.
        first: A difference that is known already, for a queue that was deleted since.
    """
    with app.connection_for_write() as connection:
        found = differences(connection, queue) or ([first] if first else [])
    if not found:
        return None
    fix = _fixes(app, queue, found)
    return QueueMismatch.of(f"queue {queue.name!r}", sanitized(app.conf.broker_write_url), found, fix)


def _fixes(app: Celery, queue: Queue, found: list[Difference]) -> str:
    migrate = f"Migrate it with all its messages, while nothing uses it: `framework doctor --migrate {queue.name}`"
    if queue.name == app.conf.task_failed_queue:
        return f"{migrate}; or name another one with task_failed_queue."
    return f"{migrate}; or keep it as it is, in celeryconfig.py: task_queues = [{_declaration(queue, found)}]."


def _declaration(queue: Queue, found: list[Difference]) -> str:
    """Return the declaration of a queue that the existing one does not refuse."""
    theirs = {difference.argument: difference.theirs for difference in found}
    flags = "".join(f", {name}={theirs.pop(name)}" for name in FLAGS if name in theirs)
    kind = theirs.pop("x-queue-type", (queue.queue_arguments or {}).get("x-queue-type", "classic"))
    # None removes one of our arguments; a classic queue gets some of them.
    ours = theirs if kind == "quorum" else CLASSIC_ARGUMENTS
    arguments = {name: value for name, value in sorted(theirs.items()) if name in ours or value is not None}
    return f"Queue({queue.name!r}{flags}, queue_arguments={ {'x-queue-type': kind, **arguments} })"
