"""A reusable Celery task framework in the OMSTD layout: its packages, and the names that are used most.

The application is ``framework.celery.celery.celery``, its tasks are in ``framework.tasks``. What needs an extra is in
``framework.web`` and ``framework.testing``. A package is imported when it is first asked for, so that ``import
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
from typing import TYPE_CHECKING, Any

from framework import errors
from framework.discovery import find_tasks_in_project

if TYPE_CHECKING:
    from framework.failures import Failures as Failures
    from framework.limits import Limit as Limit
    from framework.limits import Unique as Unique
    from framework.progress import State as State
    from framework.progress import watch as watch

__all__ = [  # noqa: RUF022 - in the order of a table of contents
    "__version__",
    # A project and its tasks.
    "config",
    "errors",
    "find_tasks_in_project",
    # How often, and when.
    "limits",
    "Limit",
    "Unique",
    "schedule",
    # How far it is, and what became of it.
    "progress",
    "State",
    "watch",
    "failures",
    "Failures",
    # What the bundled tasks are made of.
    "contrib",
]

#: The package that each name comes from which is no package itself.
_PACKAGES = {
    "Failures": "framework.failures",
    "Limit": "framework.limits",
    "State": "framework.progress",
    "Unique": "framework.limits",
    "watch": "framework.progress",
}

try:
    #: The version that is installed; empty where the source tree is used without being installed.
    __version__ = version("omstd-framework")
except PackageNotFoundError:
    __version__ = ""


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return getattr(import_module(_PACKAGES[name]), name)
    if name in __all__:
        return import_module(f"framework.{name}")
    raise AttributeError(f"module 'framework' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
