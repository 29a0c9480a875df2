"""Failed tasks: recorded with their reason, listed, retried, dropped, exported; and effects that happen once."""

from framework.failures.entry import FailedTask
from framework.failures.idempotency import forget, once
from framework.failures.registry import ALL, Failures

__all__ = ["ALL", "FailedTask", "Failures", "forget", "once"]
