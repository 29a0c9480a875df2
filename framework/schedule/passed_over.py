"""The slots that a leader passes over, counted for its log."""

from collections import Counter
from time import monotonic

from celery.utils.log import get_logger

from framework.schedule.description import listed

__all__ = ["PassedOver"]

log = get_logger(__name__)

#: The shortest time, in seconds, between two lines in the log.
REPORT_SECONDS = 10.0


class PassedOver:
    """Counts slots that were late for longer than their entries allow, and logs them together."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._reported_at = float("-inf")

    def add(self, entry: str, count: int) -> None:
        """Count slots of an entry."""
        if count:
            self._counts[entry] += count

    def report(self) -> None:
        """Log what was counted since the last line, if that is some seconds ago."""
        if not self._counts or monotonic() - self._reported_at < REPORT_SECONDS:
            return
        self._reported_at = monotonic()
        log.warning(
            "beat: slots passed over, since they were late for longer than `missed` allows: %d, most of %s",
            self._counts.total(),
            listed([name for name, _ in self._counts.most_common()]),
        )
        self._counts.clear()
