"""The beat scheduler, of which any number may run: one leads, the others stand by."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from random import uniform
from typing import Any

import celery.beat
from celery import Celery
from celery.utils.log import get_logger

from framework.broker.url import sanitized
from framework.schedule.agenda import Retry
from framework.schedule.entries import Entry, entries_of
from framework.schedule.leader import Leadership, utc_now
from framework.schedule.leader_connection import LeadershipLost
from framework.schedule.messages import queue_name

__all__ = ["Scheduler"]

log = get_logger(__name__)

#: The shortest and longest delay, in seconds, until the broker is connected to again; each is random in between.
RECONNECT_DELAY_SECONDS = (0.2, 1.0)

# Its stubs leave out most of it.
Base: Any = celery.beat.Scheduler


class Scheduler(Base):  # type: ignore[misc]
    """A ``beat_scheduler`` that may run on any number of servers: each slot is sent once.

    The broker makes one of them the leader. When its connection ends, the next one leads within milliseconds, with the
    leader's state.

    Raises:
        BadEntries: an entry is invalid.
    """

    data: dict[str, Entry]

    def __init__(self, app: Celery, *args: Any, clock: Callable[[], datetime] = utc_now, **options: Any) -> None:
        self._clock = clock
        self._leadership: Leadership | None = None
        self._postponed: dict[str, Retry] = {}
        self._busy = False
        self._away = False
        super().__init__(app, *args, **options)
        self.data = entries_of(app)

    def setup_schedule(self) -> None:
        """Do nothing: the entries are read in the constructor, and their state is in the broker."""

    @property
    def info(self) -> str:
        """The scheduler's line in the banner."""
        return f"    . state queue -> {queue_name(self.app)}"

    def tick(self, *_: Any, **__: Any) -> float:
        """Send the due entries, and wait for the next; return the seconds to sleep before the next tick."""
        self._busy = True
        try:
            self._leadership = self._leadership or self._connect()
            self._leadership.work(self.max_interval)
        except LeadershipLost as exc:
            self._step_down(exc)
            return uniform(*RECONNECT_DELAY_SECONDS)
        finally:
            self._busy = False
        return 0.0

    def close(self) -> None:
        """End the leadership."""
        # Celery calls this from a signal handler too, which may interrupt a tick, and then a second time.
        if not self._busy and self._leadership is not None:
            leadership, self._leadership = self._leadership, None
            leadership.close()

    def _connect(self) -> Leadership:
        leadership = Leadership(self.app, self.data, self._clock, self._postponed)
        if self._away:
            log.warning("beat: the broker is back")
        self._away = False
        return leadership

    def _step_down(self, why: LeadershipLost) -> None:
        leadership, self._leadership = self._leadership, None
        led = leadership is not None and leadership.leads_since is not None
        if led or not self._away:
            log.error(
                "beat: %s: %s; retrying",
                "lost the leadership" if led else f"the broker {sanitized(self.app.conf.broker_write_url)} is away",
                why,
            )
        self._away = True
        if leadership is not None:
            with suppress(Exception):
                leadership.abandon()
