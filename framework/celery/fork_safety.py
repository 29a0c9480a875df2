"""What a process that comes of ``os.fork`` must not use: the connections of the one it comes of.

Celery and kombu see to the processes that multiprocessing and billiard make. Of others, such as those of a web server
that was preloaded, they hear nothing, and two processes would write on one connection.
"""

import os
from typing import Any
from weakref import WeakSet

from kombu import pools

from framework.celery import compat

__all__ = ["reset_after_fork"]


_apps: WeakSet[Any] = WeakSet()

#: Kept for ever: to close one of them would end the connection of the other process.
_inherited: list[Any] = []


def reset_after_fork(app: Any) -> None:
    """Have each process that is forked later begin with no connection of ``app``."""
    _apps.add(app)


def _reset() -> None:
    for group in (pools.connections, pools.producers):
        _inherited.append(dict(group))
        group.clear()
    for app in _apps:
        compat.drop_connection_pools(app)


os.register_at_fork(after_in_child=_reset)
