"""The result of a call, for which `get` waits no longer than its timeout."""

from typing import Any

import celery.result
from celery.exceptions import TimeoutError as ResultTimeout
from kombu.exceptions import OperationalError

from framework.broker.deadline import Deadline

__all__ = ["AsyncResult"]


class AsyncResult(celery.result.AsyncResult):  # type: ignore[type-arg]
    """Celery's result, whose timeout includes the time to connect to the broker."""

    def get(self, timeout: float | None = None, *args: Any, **options: Any) -> Any:
        """Wait for the result and return it; see ``celery.result.AsyncResult.get``.

        Raises:
            celery.exceptions.TimeoutError: it did not arrive within ``timeout`` seconds.
            BrokerUnreachable: with a longer one, the broker does not answer within ``task_publish_timeout``.
        """
        with Deadline.within(timeout) as deadline:
            try:
                return super().get(timeout, *args, **options)
            except (OperationalError, OSError) as exc:
                if not deadline.passed:
                    raise
                raise ResultTimeout("The operation timed out.") from exc
