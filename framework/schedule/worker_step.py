"""A worker step that checks the schedule of a worker with a scheduler inside (``worker -B``)."""

from typing import Any

from celery import bootsteps

from framework.schedule.entries import entries_of

__all__ = ["CheckEntries"]


class CheckEntries(bootsteps.Step):
    """Stops the start of a worker with invalid entries: the process of its scheduler would only exit.

    Raises:
        BadEntries: an entry is invalid.
    """

    def __init__(self, worker: Any, beat: bool = False, **options: Any) -> None:
        super().__init__(worker, **options)
        self.enabled = beat

    def create(self, worker: Any) -> None:
        """Check the entries."""
        entries_of(worker.app)
