"""Errors of the broker, as callers see them: which broker, what it said, and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

import amqp
from amqp.exceptions import AccessRefused, AMQPError, NotAllowed
from celery import Celery
from kombu import Queue
from kombu.exceptions import OperationalError

from framework.broker.producer import Unconfirmed
from framework.broker.queue_diff import FLAGS, Difference, Refusal, differences
from framework.broker.url import sanitized
from framework.errors import (
    BrokerError,
    BrokerRefused,
    BrokerUnreachable,
    FrameworkError,
    NotConfirmed,
    QueueMismatch,
)

__all__ = ["declared_queue", "mismatch_error", "publishing", "queue_mismatch"]


@contextmanager
def publishing(app: Celery, task_id: str = "") -> Iterator[None]:
    """Turn what goes wrong between us and the broker into an error that names the broker and the ways out."""
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
            raise BrokerError(
                f"The broker {url} refused the message: its queue is full (x-max-length), or cannot keep it now. "
                "Nothing was queued. Have workers drain the queue, or give it more room."
            ) from None
        if (error := mismatch_error(app, cause)) is not None:
            raise error from None
        raise BrokerError(f"The broker {url} did not take the message: {cause}. Nothing was queued.") from exc


def mismatch_error(app: Celery, cause: BaseException) -> QueueMismatch | None:
    """The error for what the broker refused to declare; None where ``cause`` is about something else."""
    refusal = Refusal.told_by(cause)
    if refusal is None:
        return None
    if refusal.kind == "queue" and (queue := declared_queue(app, refusal.name)) is not None:
        return queue_mismatch(app, queue, refusal.difference)
    cure = "Delete it while nobody uses it; the next call or worker makes it anew."
    return QueueMismatch.of(
        f"{refusal.kind} {refusal.name!r}", sanitized(app.conf.broker_write_url), [refusal.difference], cure
    )


def declared_queue(app: Celery, name: str) -> Queue | None:
    """The queue of that name as the application declares it; None where it does not know it."""
    failed: Queue = app.amqp.failed_queue  # type: ignore[attr-defined]
    return failed if name == failed.name else app.amqp.queues.get(name)


def queue_mismatch(app: Celery, queue: Queue, first: Difference | None = None) -> QueueMismatch | None:
    """The error for a queue, with each argument that differs; None where none does, or the queue does not exist.

    Args:
        app: whose broker is asked.
        queue: as it is declared.
        first: what is known to differ, should the queue be gone in the meantime.
    """
    with app.connection_for_write() as connection:
        found = differences(connection, queue) or ([first] if first else [])
    if not found:
        return None
    cure = _fixes(app, queue, found)
    return QueueMismatch.of(f"queue {queue.name!r}", sanitized(app.conf.broker_write_url), found, cure)


def _fixes(app: Celery, queue: Queue, found: list[Difference]) -> str:
    anew = f"Make it anew with all that is in it, while nothing uses it: `framework doctor --migrate {queue.name}`"
    if queue.name == app.conf.task_failed_queue:
        return f"{anew}; or name another one with task_failed_queue."
    return f"{anew}; or keep it as it is, in celeryconfig.py: task_queues = [{_declaration(queue, found)}]."


def _declaration(queue: Queue, found: list[Difference]) -> str:
    """The declaration of a queue that the existing one would not refuse."""
    theirs = {difference.argument: difference.theirs for difference in found}
    flags = "".join(f", {name}={theirs.pop(name)}" for name in FLAGS if name in theirs)
    kind = theirs.pop("x-queue-type", (queue.queue_arguments or {}).get("x-queue-type", "classic"))
    # None takes one of ours away; a classic queue gets none of them.
    kept = {name: value for name, value in theirs.items() if kind == "quorum" or value is not None}
    return f"Queue({queue.name!r}{flags}, queue_arguments={ {'x-queue-type': kind, **kept} })"
