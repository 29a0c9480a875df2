"""Celery's scheduler, of which any number may run: one leads, the others are ready to."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from random import uniform
from typing import Any

import celery.beat
from celery import Celery
from celery.utils.log import get_logger

from framework.broker.url import sanitized
from framework.schedule.entries import Entry, entries_of
from framework.schedule.leader import Leadership, utc_now
from framework.schedule.leader_connection import LeadershipLost
from framework.schedule.messages import queue_name

__all__ = ["Scheduler"]

log = get_logger(__name__)

#: Seconds between two attempts to reach a broker that is away, at random in between.
PAUSES = (0.2, 1.0)

# Its stubs leave out most of it.
Base: Any = celery.beat.Scheduler


class Scheduler(Base):  # type: ignore[misc]
    """A ``beat_scheduler`` that may run on any number of servers: what is due is sent once.

    One leads; the broker says which. When its connection ends, the next one leads within milliseconds, knows what was
    sent, and goes on.

    Raises:
        BadEntries: an entry cannot be.
    """

    data: dict[str, Entry]

    def __init__(self, app: Celery, *args: Any, clock: Callable[[], datetime] = utc_now, **options: Any) -> None:
        self._clock = clock
        self._term: Leadership | None = None
        self._put_off: dict[str, datetime] = {}
        self._busy = False
        self._away = False
        super().__init__(app, *args, **options)
        self.data = entries_of(app)

    def setup_schedule(self) -> None:
        """Nothing to do: the entries are read before, and their state is in the broker."""

    @property
    def info(self) -> str:
        """What the banner says of it."""
        return f"    . state queue -> {queue_name(self.app)}"

    def tick(self, *_: Any, **__: Any) -> float:
        """Do what is due, and wait for the next thing to do; seconds to wait besides."""
        self._busy = True
        try:
            self._term = self._term or self._begin()
            self._term.work(self.max_interval)
        except LeadershipLost as exc:
            self._step_down(exc)
            return uniform(*PAUSES)
        finally:
            self._busy = False
        return 0.0

    def close(self) -> None:
        """Leave the line."""
        # Celery calls this from a signal handler too, in the middle of whatever is being done, and then once more.
        if not self._busy and self._term is not None:
            term, self._term = self._term, None
            term.close()

    def _begin(self) -> Leadership:
        term = Leadership(self.app, self.data, self._clock, self._put_off)
        if self._away:
            log.warning("beat: the broker is back")
        self._away = False
        return term

    def _step_down(self, why: LeadershipLost) -> None:
        term, self._term = self._term, None
        led = term is not None and term.leads_since is not None
        if led or not self._away:
            log.error(
                "beat: %s: %s; trying again",
                "lost the lead" if led else f"the broker {sanitized(self.app.conf.broker_write_url)} is away",
                why,
            )
        self._away = True
        if term is not None:
            with suppress(Exception):
                term.abandon()
