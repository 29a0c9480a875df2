"""Reports that a tracked task is queued or will be retried, when it is called."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from framework.discovery.catalog import TaskInfo
from framework.progress import signals

__all__ = ["report_call"]


@contextmanager
def report_call(app: Any, info: TaskInfo, headers: Mapping[str, Any]) -> Iterator[None]:
    """Report a call before the code inside ``with`` publishes it, so that the worker's states come later."""
    task_id = headers.get("id")
    if not task_id:  # a message of Celery's first protocol
        yield
    elif headers.get("retries"):
        signals.report_retry(app, task_id, info.name, _timestamp(headers.get("eta")), tracked=info.tracked)
        yield
    elif not info.tracked:
        yield
    else:
        signals.report_queued(app, task_id, info.name, _timestamp(headers.get("eta")))
        try:
            yield
        except BaseException:
            signals.report_not_queued(app, task_id)
            raise


def _timestamp(eta: str | None) -> float | None:
    return datetime.fromisoformat(eta).timestamp() if eta else None
