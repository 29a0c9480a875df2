"""Reports that a call is queued, or about to be retried, where its task is tracked."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from framework.discovery.catalog import TaskInfo
from framework.progress import signals

__all__ = ["report_call"]


@contextmanager
def report_call(app: Any, info: TaskInfo, headers: Mapping[str, Any]) -> Iterator[None]:
    """Report that a task is queued before it is published inside, so that its worker's reports come later."""
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
