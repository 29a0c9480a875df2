"""The private names of Celery, kombu and billiard that the framework uses, one function or class each.

Each says which public way is missing upstream. ``tests/unit/celery/test_compat.py`` fails when upstream changes one.
This module imports nothing of the framework, so that every layer may use it.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import celery.worker.request
import kombu
from celery._state import task_join_will_block  # type: ignore[attr-defined]
from celery.backends import rpc

__all__ = [
    "Request",
    "ResultConsumer",
    "TaskConsumer",
    "argument_check",
    "drop_connection_pools",
    "drop_thread_state",
    "forget_results",
    "has_reply_queue",
    "is_alive",
    "process_of",
    "real_app",
    "wait_for_written",
    "was_accepted",
]


def real_app(app: Any) -> Any:
    """Return the application that a proxy such as ``celery.current_app`` stands for, or ``app`` itself.

    `celery.local.Proxy` has no public way to its object, and a proxy is no key of a weak dictionary: it dies first.
    """
    return getattr(app, "_get_current_object", lambda: app)()


def argument_check(task: Any) -> Callable[..., object] | None:
    """Return the function that raises TypeError for arguments the task does not take; None with ``typing=False``.

    Celery makes it for each task and calls it in ``apply_async``; there is no public name for it, and
    ``inspect.signature`` costs fifty times as much for a call.
    """
    return getattr(task, "__header__", None) if task.typing else None


def drop_connection_pools(app: Any) -> None:
    """Have an application open connections of its own after ``os.fork``, without closing its parent's.

    Celery resets its pools for the processes that billiard makes, and closes what they hold, the result consumer too
    (https://github.com/celery/celery/pull/10339 lists what else a fork inherits). A web server's forks get no hook.
    """
    app._pool = None
    if "amqp" in vars(app):
        app.amqp._producer_pool = None


def has_reply_queue() -> bool:
    """Return whether this process has declared its reply queue already: a pool process, whose worker did.

    Celery's ``rpc://`` decides so in ``on_task_call``; it declares the queue there with unlimited retries, which have
    no public option, so the framework declares it in its own way.
    """
    return bool(task_join_will_block())


def drop_thread_state(app: Any) -> None:
    """Have an application choose new names for the queues of its threads' results, and make a new result backend.

    Both are in a ``threading.local``, which the thread that called ``os.fork`` has in the child too.
    """
    app._local = threading.local()


def forget_results(backend: Any) -> None:
    """Forget the results that a backend of ``rpc://`` waits for; Celery does so in the processes of billiard alone."""
    backend._after_fork()


def process_of(job: Any) -> Any:
    """Return the pool process that a job was written to; None where it was not.

    With `was_accepted` and `is_alive` for https://github.com/celery/celery/issues/5120: a job is started a second time
    because its process died before the pool had read that it took the job.
    """
    return job._write_to


def wait_for_written(pool: Any) -> None:
    """Have a pool wait for the jobs that its processes were sent and have not accepted yet.

    A pool that is closed forgets such a job, and its process runs it: its message is not acknowledged, so the task runs
    again. https://github.com/celery/celery/issues/3802
    """
    for job in pool._cache.values():
        writer = getattr(job, "_writer", None)  # a weak reference, to a generator that ends with the last byte
        if job._write_to is not None and (writer is None or writer() is None):
            job._accepted = True


def was_accepted(job: Any) -> bool:
    """Return whether a pool process has said that it took the job."""
    return bool(job._accepted)


def is_alive(process: Any) -> bool:
    """Return whether a pool process is there, without reaping it as billiard's ``exitcode`` does."""
    return bool(process._is_alive())


class ResultConsumer(rpc.ResultConsumer):  # type: ignore[name-defined, misc]
    """Celery's consumer of ``rpc://`` results, whose reconnect can be extended.

    Celery 5.7 reconnects in a private method (https://github.com/celery/celery/pull/10179), for which
    https://github.com/celery/celery/issues/10188 asks a contract.
    """

    def detach(self) -> tuple[Any, ...]:
        """Drop the connection without closing it; return what must be kept, since it closes itself when it is freed."""
        return tuple(self.__dict__.pop(name, None) for name in ("_connection", "_consumer"))

    @property
    def no_ack(self) -> bool:
        """Whether results are acknowledged when they are sent."""
        return bool(self._no_ack)

    def reconnect(self) -> None:
        """Consume the pending results' queues on another connection."""
        super()._reconnect()

    def _reconnect(self) -> None:
        self.reconnect()


BaseConsumer: Any = kombu.Consumer


class TaskConsumer(BaseConsumer):  # type: ignore[misc]
    """kombu's consumer, which records the queue of each consumer tag, and has a method for one that is cancelled.

    A message names the exchange and routing key that it was published with and the tag of its consumer, not its queue
    (https://github.com/celery/celery/issues/3767); kombu makes the tags in a private method. It gives its queues no
    ``on_cancel`` either, so py-amqp raises `amqp.ConsumerCancelled`, a connection error of a connection that works:
    https://github.com/celery/kombu/pull/1953.
    """

    #: The name of the queue of each consumer tag.
    queue_names: dict[str, str]

    def __init__(self, *args: Any, **options: Any) -> None:
        self.queue_names = {}
        super().__init__(*args, **options)

    def on_server_cancel(self, queue: Any, tag: str) -> None:
        """Handle that the server has cancelled the consumer ``tag`` of ``queue``."""
        raise NotImplementedError

    def consume_again(self, queue: Any) -> None:
        """Declare a queue and consume it with another tag."""
        self._active_tags.pop(queue.name, None)
        queue.declare()
        self._basic_consume(queue)

    def _add_tag(self, queue: Any, consumer_tag: str | None = None) -> str:
        tag = str(super()._add_tag(queue, consumer_tag))
        self.queue_names[tag] = queue.name
        return tag

    def _basic_consume(self, queue: Any, *args: Any, **options: Any) -> Any:
        tag = super()._basic_consume(queue, *args, **options)
        callbacks = getattr(self.channel, "cancel_callbacks", None)  # of py-amqp
        if callbacks is not None:
            callbacks[tag] = partial(self.on_server_cancel, queue)
        return tag


BaseRequest: Any = celery.worker.request.Request  # its stubs leave out most of it


class Request(BaseRequest):  # type: ignore[misc]
    """Celery's request of a worker, with public names for what becomes of a task that was stopped.

    Celery decides in private methods whether a lost or revoked task runs again, and has no hook before the message is
    acknowledged: https://github.com/celery/celery/pull/6103, https://github.com/celery/celery/pull/6654.
    """

    @property
    def was_cancelled(self) -> bool:
        """Whether the task was stopped because the worker lost its connection; its message is delivered again."""
        return bool(self._already_cancelled)

    @was_cancelled.setter
    def was_cancelled(self, value: bool) -> None:
        self._already_cancelled = value

    @property
    def was_revoked(self) -> bool:
        """Whether the task's end as REVOKED has been announced."""
        return bool(self._already_revoked)

    def announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:
        """Store and announce that the task was revoked."""
        super()._announce_revoked(reason, terminated, signum, expired)

    def success_was_stored(self) -> Any:
        """Return what the result backend has of a task that succeeded before its process died; False if nothing."""
        return super()._success_was_stored()

    def retry_worker_lost(self, exc: BaseException, exc_info: Any) -> bool:
        """Publish a retry of the task, whose process died; return whether it has retries left."""
        return bool(super()._retry_worker_lost(exc, exc_info))

    def _announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:
        self.announce_revoked(reason, terminated, signum, expired)

    def _success_was_stored(self) -> Any:
        return self.success_was_stored()

    def _retry_worker_lost(self, exc: BaseException, exc_info: Any) -> bool:
        return self.retry_worker_lost(exc, exc_info)
