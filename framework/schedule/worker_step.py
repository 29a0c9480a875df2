"""What a worker checks that is to have a scheduler inside (``worker -B``)."""

from typing import Any

from celery import bootsteps

from framework.schedule.entries import entries_of

__all__ = ["CheckEntries"]


class CheckEntries(bootsteps.Step):
    """Refuses the start of a worker whose scheduler would refuse its own: that is a process which only dies.

    Raises:
        BadEntries: an entry cannot be.
    """

    def __init__(self, worker: Any, beat: bool = False, **options: Any) -> None:
        super().__init__(worker, **options)
        self.enabled = beat

    def create(self, worker: Any) -> None:
        """Check the entries."""
        entries_of(worker.app)
