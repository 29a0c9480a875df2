"""Celery's application class with what this framework adds to it, through Celery's own extension points."""

from collections.abc import Callable
from inspect import getsourcefile, unwrap
from typing import Any

from celery import Celery
from celery.result import AsyncResult

from framework import broker
from framework.celery.calling import as_arguments, check_call, publishing
from framework.errors import DuplicateTask

__all__ = ["App"]

broker.register()


class App(Celery):
    """A Celery application: same decorators, calls, canvas and signals.

    It takes its settings from `framework.config`, includes every module of ``framework/tasks``, refuses two tasks with
    one name, and refuses a call by name that no task could run.
    """

    loader_cls = "framework.celery.loader:Loader"
    task_cls = "framework.celery.task:Task"

    def send_task(
        self, name: str, args: Any = None, kwargs: Any = None, *more: Any, **options: Any
    ) -> "AsyncResult[Any]":
        """Call a task by its name; see ``celery.Celery.send_task`` for every option.

        Raises:
            UnknownTask: no task has that name, and no remote one was declared.
            WrongArguments: the task does not take these arguments.
            BrokerUnreachable: the broker does not answer, or not in time.
        """
        args = as_arguments(name, args)
        if options.get("task_type") is None:
            check_call(self, name, args, kwargs)
        with publishing(self):
            return super().send_task(name, args, kwargs, *more, **options)

    # Celery's decorators all end in this private method, which keeps the first of two functions with one name and
    # warns: the second task would never run. (celery/celery#4226, the warning is there since 5.7.)
    def _task_from_fun(  # type: ignore[override]
        self, fun: Callable[..., Any], name: str | None = None, **options: Any
    ) -> Any:
        name = name or self.gen_task_name(fun.__name__, fun.__module__)
        taken = getattr(self._tasks.get(name), "_decorated_fun", None)  # type: ignore[attr-defined]
        if taken is not None and _place(taken) != _place(fun):
            raise DuplicateTask.named(name, _place(taken), _place(fun))
        return super()._task_from_fun(fun, name=name, **options)


def _place(fun: Callable[..., Any]) -> str:
    """Where a function is written: file and line."""
    inner = unwrap(fun)
    code = getattr(inner, "__code__", None)
    return f"{getsourcefile(inner)}, line {code.co_firstlineno}" if code else repr(inner)
