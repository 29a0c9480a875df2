"""Rates as text: ``1/10s``, ``5/minute``, ``100/2h``."""

import re
from typing import NamedTuple, Self

from framework.errors import BadLimit

__all__ = ["Rate"]


#: Seconds in a unit, by each of its names.
UNITS = {
    name: seconds
    for seconds, names in {
        1.0: "s sec second seconds",
        60.0: "m min minute minutes",
        3600.0: "h hour hours",
        86400.0: "d day days",
    }.items()
    for name in names.split()
}

RATE = re.compile(r"\s*(\d+)\s*/\s*(\d+(?:\.\d+)?)?\s*([a-z]+)\s*", re.ASCII)

#: Seconds of the longest window: a fortnight.
LONGEST_WINDOW_SECONDS = 14 * 86400.0

#: Tokens of the largest limit.
LARGEST_LIMIT = 1_000_000


class Rate(NamedTuple):
    """At most ``most`` calls in any ``window`` seconds."""

    most: int
    window: float

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the rate that ``N/[M]unit`` says.

        >>> Rate.of("5/minute"), Rate.of("100/2h")
        (Rate(most=5, window=60.0), Rate(most=100, window=7200.0))

        Raises:
            BadLimit: it is no rate, or out of bounds.
        """
        found = RATE.fullmatch(text) if isinstance(text, str) else None
        if found is None or found[3] not in UNITS:
            raise BadLimit.of(text, "it is no rate")
        rate = cls(int(found[1]), float(found[2] or 1) * UNITS[found[3]])
        if not 0 < rate.most <= LARGEST_LIMIT:
            raise BadLimit.of(text, f"it must allow 1 to {LARGEST_LIMIT:,}")
        if not 0.1 <= rate.window <= LONGEST_WINDOW_SECONDS:
            raise BadLimit.of(text, "its window must be 0.1 s to 14 days")
        return rate
