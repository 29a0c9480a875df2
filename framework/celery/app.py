"""The application class: Celery's, extended through Celery's own extension points."""

from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from inspect import unwrap
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, overload

from celery import Celery, Task
from celery.result import AsyncResult as Result
from celery.utils.objects import FallbackContext
from kombu.utils.uuid import uuid

from framework import broker
from framework.broker.connection import acquired
from framework.broker.deadline import Deadline
from framework.broker.url import check_supported
from framework.celery.broker_errors import converting_errors
from framework.celery.calls import as_arguments, not_before, resolve_call
from framework.celery.fork_safety import reset_after_fork
from framework.celery.result import AsyncResult
from framework.celery.rpc_backend import ReplyQueueMoved
from framework.discovery.catalog import TaskInfo
from framework.errors import DuplicateTask
from framework.limits.admission import ShortCircuit, admitted
from framework.progress.publisher import close_publisher

__all__ = ["App"]

P = ParamSpec("P")
R = TypeVar("R")

broker.register()


class App(Celery):
    """A Celery application: same decorators, calls, canvas and signals.

    It takes its settings from `framework.config`, includes every module of ``framework/tasks``, refuses two tasks with
    one name, and refuses a call by name that no task could run.
    """

    loader_cls = "framework.celery.loader:Loader"
    task_cls = "framework.celery.task:Task"
    amqp_cls = "framework.celery.amqp:AMQP"

    def __init__(self, *args: Any, **options: Any) -> None:
        #: The file and line of each task, by its name.
        self.places: dict[str, str] = {}
        super().__init__(*args, **options)
        reset_after_fork(self)
        self.steps["worker"].add("framework.schedule.worker_step:CheckEntries")
        self.steps["consumer"].add("framework.limits.release_step:ReleaseUniqueLocks")

    @cached_property
    def AsyncResult(self) -> Any:  # noqa: N802 - Celery's name
        """The class of results of this application."""
        return self.subclass_with_self(AsyncResult)

    def connection_for_read(self, url: str | None = None, **options: Any) -> Any:
        """Return a connection to consume from.

        Raises:
            UnsupportedBroker: the broker is neither RabbitMQ nor the embedded one.
        """
        check_supported(url or self.conf.broker_read_url)
        return super().connection_for_read(url, **options)

    def connection_for_write(self, url: str | None = None, **options: Any) -> Any:
        """Return a connection to publish on, whose waits for the broker are bounded by ``task_publish_timeout``.

        Raises:
            UnsupportedBroker: the broker is neither RabbitMQ nor the embedded one.
        """
        check_supported(url or self.conf.broker_write_url)
        timeouts = {"read_timeout": self.conf.task_publish_timeout, "write_timeout": self.conf.task_publish_timeout}
        # One attempt: the producer decides how often and how long to retry.
        given = {"max_retries": 0, **timeouts, **(options.pop("transport_options", None) or {})}
        return super().connection_for_write(url, transport_options=given, **options)

    def connection(self, hostname: str | None = None, **options: Any) -> Any:  # type: ignore[override]
        """Return a connection for waiting for results, which is retried while the broker restarts or a node is down.

        Raises:
            UnsupportedBroker: the broker is neither RabbitMQ nor the embedded one.
        """
        check_supported(hostname or self.conf.broker_write_url)
        retries = {"max_retries": None, "connect_retries_timeout": self.conf.task_publish_timeout, "interval_max": 0.5}
        options["transport_options"] = {**retries, **(options.get("transport_options") or {})}
        return super().connection(hostname, **options)

    def producer_or_acquire(self, producer: Any = None) -> Any:
        """Return the producer, or acquire one, inside ``with``; wait for one to the deadline of the call at most."""
        return FallbackContext(producer, acquired, self.producer_pool, self.conf.broker_pool_acquire_timeout)

    def check_call(self, name: str, args: Any = None, kwargs: Any = None) -> str:
        """Return the full name of the task that a call by name is for.

        Raises:
            UnknownTask: no task has that name, and no remote one was declared.
            InvalidArguments: the task does not take these arguments.
        """
        return resolve_call(self, name, args, kwargs).name

    def close(self) -> None:
        """Close the application's connections; see ``celery.Celery.close``."""
        close_publisher(self)
        super().close()

    def send_task(
        self,
        name: str,
        args: Any = None,
        kwargs: Any = None,
        countdown: float | None = None,
        eta: datetime | str | None = None,
        task_id: str | None = None,
        *more: Any,
        **options: Any,
    ) -> "Result[Any]":
        """Call a task by its name; see ``celery.Celery.send_task`` for every option.

        Raises:
            UnknownTask: no task has that name, and no remote one was declared.
            InvalidArguments: the task does not take these arguments.
            TaskTooLarge: its message has more bytes than ``task_message_max_bytes``; nothing was queued.
            BadDelay: ``countdown`` or ``eta`` is no time within the next hundred years.
            BrokerUnreachable: the broker does not answer; nothing was queued.
            NotConfirmed: the broker did not confirm the task in time; it may be queued.
            QueueMismatch: the queue exists with other arguments; nothing was queued.
            OverLimit: a limit of the task has been reached; nothing was queued.
            AlreadyQueued: the task is unique and there is one; nothing was queued.
        """
        args = as_arguments(name, args)
        task_id = task_id or uuid()
        if (task := options.get("task_type")) is None:
            info = resolve_call(self, name, args, kwargs)
            name = info.name
        else:  # called through the task, which has checked the arguments
            info = TaskInfo.of(task)
        options["task_info"] = info
        wait: tuple[Any, Any] = (None, None)
        if self.conf.task_protocol == 1:  # its messages have no headers, so Celery's worker waits for their eta
            wait = (countdown, eta)
        elif (due := not_before(self, countdown, eta)) is not None:
            # Not as eta: Celery would delay it in its own way, which loses tasks published before the first worker.
            options["not_before"] = due
        try:
            with (
                Deadline.within(self.conf.task_publish_timeout),
                converting_errors(self, task_id),
                admitted(info, args, kwargs, task_id, options),
            ):
                try:
                    return super().send_task(name, args, kwargs, *wait, task_id, *more, **options)
                except ReplyQueueMoved:
                    return super().send_task(name, args, kwargs, *wait, task_id, *more, **options)
        except ShortCircuit as answer:
            return answer.result

    @property
    def thread_oid(self) -> str:
        """The queue that this thread's results are sent to."""
        return getattr(self.backend, "moved_to", None) or super().thread_oid

    @overload  # type: ignore[override]
    def task(self, fun: Callable[P, R], /) -> "Task[P, R]": ...
    @overload
    def task(
        self, *, bind: Literal[True], **options: Any
    ) -> "Callable[[Callable[Concatenate[Any, P], R]], Task[P, R]]": ...
    @overload
    def task(self, **options: Any) -> "Callable[[Callable[P, R]], Task[P, R]]": ...
    def task(self, *args: Any, **options: Any) -> Any:
        """Make a function a task; see ``celery.Celery.task``.

        Raises:
            DuplicateTask: another function of this application has that name already.
        """
        if args:
            if callable(args[0]):
                self._claim(args[0], options)
            return super().task(*args, **options)
        make = super().task(**options)

        def decorate(fun: Callable[..., Any]) -> Any:
            self._claim(fun, options)
            return make(fun)

        return decorate

    def _claim(self, fun: Callable[..., Any], options: dict[str, Any]) -> None:
        name = options.get("name") or self.gen_task_name(fun.__name__, fun.__module__)
        here = _location(fun)
        first = self.places.setdefault(name, here)
        if first != here and not here.startswith("<"):  # in an interactive shell a function may be redefined
            raise DuplicateTask.named(name, first, here)


def _location(fun: Callable[..., Any]) -> str:
    """Return the file and line of a function."""
    inner = unwrap(fun)
    code = getattr(inner, "__code__", None)
    return f"{code.co_filename}, line {code.co_firstlineno}" if code else repr(inner)
