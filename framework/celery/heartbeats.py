"""Sends the heartbeats of a worker's connections while a task blocks its event loop, as in the pool ``solo``.

Celery sends them from the event loop alone, so RabbitMQ closes the connection of a worker that is busy for longer than
two intervals, and requeues the task that still runs (https://github.com/celery/celery/issues/3430).
"""

from collections.abc import Callable, Iterable
from functools import wraps
from threading import Lock, Thread
from time import monotonic, sleep
from typing import Any

from amqp.exceptions import AMQPError
from celery.utils.log import get_logger

from framework.errors import describe

__all__ = ["Heartbeats"]

log = get_logger(__name__)

#: Heartbeats that are sent within the negotiated interval.
RATE = 4


class Heartbeats:
    """Sends heartbeats from a thread while the thread of the event loop runs a task.

    The thread writes only during a task and never reads: the event loop is not disturbed, and notices a closed
    connection, or one on which nothing arrives, after the task.

    Args:
        connections: returns the kombu connections that are open now.
        interval: seconds between two heartbeats, as the settings have it; the server may ask for less.
    """

    def __init__(self, connections: Callable[[], Iterable[Any]], interval: float) -> None:
        self._connections = connections
        self._interval = self._seconds = interval
        self._lock = Lock()
        self._blocked = False
        self._used = False
        self._running = False

    def during(self, run: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``run`` as a function during which heartbeats are sent."""

        @wraps(run)
        def guarded(*args: Any, **options: Any) -> Any:
            begun = self._block()
            try:
                return run(*args, **options)
            finally:
                self._unblock(begun)

        return guarded

    def _block(self) -> float:
        seconds = min([self._interval, *(each.heartbeat for each in self._with_heartbeats())]) / RATE
        with self._lock:
            self._seconds = seconds
            self._blocked = self._used = True
            if not self._running:
                self._running = True
                Thread(target=self._send_while_used, name="heartbeats", daemon=True).start()
        return monotonic()

    def _unblock(self, begun: float) -> None:
        with self._lock:
            self._blocked = False
        now = monotonic()
        if now - begun > self._seconds:
            # What the broker sent meanwhile has not been read yet; without this, Celery would take it for dead.
            for connection in self._with_heartbeats():
                connection.last_heartbeat_received = now

    def _send_while_used(self) -> None:
        """Send heartbeats during tasks; end when there was none for an interval."""
        while True:
            sleep(self._seconds)
            with self._lock:
                if not self._used:
                    self._running = False
                    return
                self._used = self._blocked
                if self._blocked:
                    self._send()

    def _send(self) -> None:
        for connection in self._with_heartbeats():
            try:
                connection.send_heartbeat()
            except (OSError, AMQPError) as exc:
                log.warning("A heartbeat cannot be sent; the worker reconnects after its task: %s", describe(exc))

    def _with_heartbeats(self) -> list[Any]:
        """Return the connections of the transport; a closed one is left out, since kombu would open it again."""
        opened = (each for each in self._connections() if each and each.supports_heartbeats and each.connected)
        return [amqp for each in opened if (amqp := each.connection).heartbeat]
