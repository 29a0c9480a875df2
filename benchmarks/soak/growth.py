"""Decides whether a figure has grown: the median of the last tenth of a run against that of the tenth after warm-up."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

#: The growth that a run may have.
SHARE = 0.05
#: Seconds that a short run warms up, and of which it takes each median; a long one takes tenths.
WARM_UP_SECONDS, WINDOW_SECONDS = 12.0, 5.0

MEGABYTE = 1 << 20
#: The growth of each kind of figure that is noise. The write-ahead log has a limit of 32 MB, below which it keeps its
#: largest size. A worker's timers include up to 500 cancelled ones. A visitor's queues expire after half a minute. The
#: callers have 400 tasks that have not ended.
TOLERANCES = {
    "memory": 2 * MEGABYTE,
    "file": 2 * MEGABYTE,
    "wal": 16 * MEGABYTE,
    "descriptors": 3,
    "threads": 2,
    "timers": 600,
    "messages": 500,
    "broker": 40,
}

Samples = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Growth:
    """A figure after warm-up and at the end of a run."""

    first: float
    last: float
    tolerance: float
    complete: bool

    @property
    def share(self) -> float:
        """The growth as a share of the first figure."""
        return (self.last - self.first) / self.first if self.first else 0.0

    @property
    def ok(self) -> bool:
        """Whether it is flat: it was there until the end, and grew by no more than `SHARE` or the tolerance."""
        return self.complete and self.last - self.first <= max(SHARE * self.first, self.tolerance)


def growth(samples: Samples, begin: float, end: float, tolerance: float) -> Growth:
    """Return the growth of a figure in a run from ``begin`` to ``end``, of which the first tenth is warm-up.

    Args:
        samples: pairs of a time and the figure at that time.
        begin: the time at which the load began, in seconds.
        end: the time of the last samples.
        tolerance: the growth that is noise.
    """
    window = max((end - begin) / 10, WINDOW_SECONDS)
    warm = begin + max((end - begin) / 10, WARM_UP_SECONDS)
    first = [value for at, value in samples if warm <= at < warm + window]
    last = [value for at, value in samples if at > end - window]
    if not first or not last:
        return Growth(median(first or [0.0]), median(last or [0.0]), tolerance, complete=False)
    return Growth(median(first), median(last), tolerance, complete=True)
