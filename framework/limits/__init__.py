"""Rate limits per key, and unique tasks: the broker keeps their tokens and locks."""

from framework.limits.limit import Limit
from framework.limits.rate import Rate
from framework.limits.unique import Unique

__all__ = ["Limit", "Rate", "Unique"]
