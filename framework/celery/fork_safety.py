"""Drops the connections and the names that a process inherited through ``os.fork``.

Celery and kombu do so in the processes that multiprocessing and billiard make, and shut down the sockets, which ends
the connections of the parent too: each new pool process broke the connections on which its worker publishes. In other
processes, such as those of a preloaded web server, two would write on one connection, and take each other's results
from one reply queue.
"""

import os
from typing import Any
from weakref import WeakSet

from kombu import pools

from framework.celery import compat

__all__ = ["reset_after_fork", "reset_backend_after_fork"]


_apps: WeakSet[Any] = WeakSet()
_backends: WeakSet[Any] = WeakSet()

#: Never closed: that would end the connection of the parent process.
_inherited: list[Any] = []


def reset_after_fork(app: Any) -> None:
    """Have each process that is forked later begin without connections of ``app``, and with queues of its own."""
    _apps.add(app)


def reset_backend_after_fork(backend: Any) -> None:
    """Have ``backend`` wait for results on new connections in each process that is forked later."""
    _backends.add(backend)


def _leave_open(*_: Any, **__: Any) -> None:
    """Close nothing: the sockets are the parent's."""


def _reset() -> None:
    for group in (pools.connections, pools.producers):
        for pool in group.values():
            pool.force_close_all = _leave_open  # kombu calls it later in the child, after this
        _inherited.append(dict(group))
        group.clear()
    for app in _apps:
        compat.drop_connection_pools(app)
        compat.drop_thread_state(app)
        for name in ("oid", "control"):  # Celery keeps both once they have been used
            vars(app).pop(name, None)
    _inherited.extend(backend.begin_in_child() for backend in _backends)


os.register_at_fork(after_in_child=_reset)
