"""A reusable Celery task framework in the OMSTD layout: the table of contents.

The application is ``framework.celery.celery.celery``, its tasks are in ``framework.tasks``. What needs an extra is in
``framework.web`` and ``framework.testing``. A module is imported when it is first asked for, so that ``import
framework`` costs little and reads no settings.
"""

import sys

# Before every import that fails on Windows in its own way. Type checkers do not evaluate this form of the condition, so
# that they see the rest of the module on Windows too.
if sys.platform in {"win32", "cygwin"}:
    raise ImportError(
        "omstd-framework cannot be imported on Windows: its broker file, its worker processes and their signals need "
        "a POSIX system. Use it in WSL 2 (wsl --install), or in a Linux container (docker compose up --build)."
    )

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from framework import errors
from framework.discovery import find_tasks_in_project

__all__ = [  # noqa: RUF022 - in the order of a table of contents
    "__version__",
    # A project and its tasks.
    "config",
    "errors",
    "find_tasks_in_project",
    # How often, and once.
    "limits",
    "once",
    "schedule",
    "unique",
    # How far it is, and what became of it.
    "failures",
    "progress",
    "state",
    # What the tasks that come with it are made of.
    "mail",
    "rows",
    "scan",
]

try:
    #: The version that is installed; empty where the source tree is used without being installed.
    __version__ = version("omstd-framework")
except PackageNotFoundError:
    __version__ = ""


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return import_module(f"framework.{name}")
    raise AttributeError(f"module 'framework' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
