"""Drops connections that a process inherited through ``os.fork``.

Celery and kombu do so in the processes that multiprocessing and billiard make. In others, such as those of a preloaded
web server, two processes would write on one connection.
"""

import os
from typing import Any
from weakref import WeakSet

from kombu import pools

from framework.celery import compat

__all__ = ["reset_after_fork"]


_apps: WeakSet[Any] = WeakSet()

#: Never closed: that would end the connection of the parent process.
_inherited: list[Any] = []


def reset_after_fork(app: Any) -> None:
    """Have each process that is forked later begin without connections of ``app``."""
    _apps.add(app)


def _reset() -> None:
    for group in (pools.connections, pools.producers):
        _inherited.append(dict(group))
        group.clear()
    for app in _apps:
        compat.drop_connection_pools(app)


os.register_at_fork(after_in_child=_reset)
