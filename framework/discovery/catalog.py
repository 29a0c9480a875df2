"""The tasks that there are, read from the source of the task modules without importing them.

So a web process can check a call by name without loading what only workers need. What is recognised is a decorator
called ``task`` or ``shared_task``, with or without options, on a function of a module.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from inspect import Parameter, Signature, signature
from typing import Any, Self

from framework.discovery.modules import source_of

__all__ = ["TaskInfo", "TaskSource", "find", "names", "resolve"]


@dataclass(frozen=True)
class TaskSource:
    """A task as its source shows it: its name, and the arguments it takes (None where the source cannot tell)."""

    name: str
    takes: Signature | None
    tracked: bool = False
    #: Whether it has a limit or is unique, by what only its code can say.
    guarded: bool = False
    module: str = ""


@dataclass(frozen=True)
class TaskInfo:
    """What a call needs to know of its task; resolved once for each call, then passed on.

    Args:
        name: The task's full name.
        task: The task, where its module is imported; its limits are its own attributes.
        takes: The arguments its source shows, where it is not imported; None where the source cannot tell.
        tracked: Whether its state is reported from the call on.
    """

    name: str
    task: Any = None
    takes: Signature | None = None
    tracked: bool = False

    @classmethod
    def of(cls, task: Any) -> Self:
        """Return what is known of an imported task."""
        return cls(task.name, task, tracked=bool(getattr(task, "track", False)))

    @property
    def signature(self) -> Signature | None:
        """The arguments that callers may pass; None where they are not known."""
        return self.takes if self.task is None else signature(self.task.run)


def resolve(app: Any, name: str) -> TaskInfo | None:
    """Return the task that ``name`` stands for; None where neither the application nor its sources have one.

    Where a module and its task have one name, the module's is enough: ``framework.tasks.main_task`` is
    ``framework.tasks.main_task.main_task``. A task whose limits only its code can say is imported.

    Raises:
        BrokenTaskModule: the module of such a task cannot be imported.
    """
    for full_name in (name, f"{name}.{name.rpartition('.')[2]}"):
        if (task := app.tasks.get(full_name)) is not None:
            return TaskInfo.of(task)
        if (source := find(app.loader.default_modules, full_name)) is None:
            continue
        if source.guarded:
            app.loader.import_task_module(source.module)
            if (task := app.tasks.get(full_name)) is not None:
                return TaskInfo.of(task)
        return TaskInfo(full_name, takes=source.takes, tracked=source.tracked)
    return None


def find(modules: Iterable[str], name: str) -> TaskSource | None:
    """The task called ``name`` in ``modules``; the module that the name begins with is read first."""
    by_prefix = sorted(modules, key=lambda module: not name.startswith(f"{module}."))
    return next((entries[name] for module in by_prefix if name in (entries := _tasks_in(module))), None)


def names(modules: Iterable[str]) -> set[str]:
    """The names of all tasks in ``modules``."""
    return {name for module in modules for name in _tasks_in(module)}


@cache
def _tasks_in(module: str) -> dict[str, TaskSource]:
    file = source_of(module)
    try:
        body = ast.parse(file.read_bytes()).body if file else []
    except (OSError, SyntaxError, ValueError):
        return {}  # its import will say what is wrong
    functions = (node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {entry.name: entry for function in functions for entry in _sources(module, function)}


def _sources(module: str, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[TaskSource]:
    for decorator in function.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else None
        target = call.func if call else decorator
        called = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
        if called in {"task", "shared_task"}:
            options = {keyword.arg: keyword.value for keyword in call.keywords} if call else {}
            tracked = _is_true(options.get("track"))
            guarded = bool(options.keys() & {"limit", "unique"})
            yield TaskSource(_name(module, function.name, options), _takes(function, options), tracked, guarded, module)


def _name(module: str, function: str, options: dict[str | None, ast.expr]) -> str:
    given = options.get("name")
    if isinstance(given, ast.Constant) and isinstance(given.value, str):
        return given.value
    return f"{module}.{function}"


def _is_true(option: ast.expr | None) -> bool:
    return isinstance(option, ast.Constant) and bool(option.value)


def _takes(function: ast.FunctionDef | ast.AsyncFunctionDef, options: dict[str | None, ast.expr]) -> Signature | None:
    """The signature that callers see; None where another decorator or an option may have changed it."""
    if len(function.decorator_list) > 1 or options.keys() & {None, "typing", "base"}:
        return None
    parameters = list(_parameters(function.args))
    if _is_true(options.get("bind")) and parameters:
        parameters = parameters[1:]
    return Signature(parameters)


def _parameters(given: ast.arguments) -> Iterator[Parameter]:
    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + list(given.defaults)
    for arg, default in zip(positional, defaults, strict=True):
        only = arg in given.posonlyargs
        yield _parameter(arg, Parameter.POSITIONAL_ONLY if only else Parameter.POSITIONAL_OR_KEYWORD, default)
    if given.vararg:
        yield _parameter(given.vararg, Parameter.VAR_POSITIONAL, None)
    for arg, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield _parameter(arg, Parameter.KEYWORD_ONLY, default)
    if given.kwarg:
        yield _parameter(given.kwarg, Parameter.VAR_KEYWORD, None)


def _parameter(arg: ast.arg, kind: Any, default: ast.expr | None) -> Parameter:
    return Parameter(arg.arg, kind, default=Parameter.empty if default is None else _Source(ast.unparse(default)))


class _Source(str):
    """A default value as it is written."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
