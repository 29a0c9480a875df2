"""Rate limits per key and unique tasks: tokens and locks that the broker keeps."""

from framework.limits.limit import Limit
from framework.limits.rate import Rate
from framework.limits.unique import Unique

__all__ = ["Limit", "Rate", "Unique"]
