"""Reports that a call is queued, or about to be retried, where its task is tracked."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from framework.discovery import catalog
from framework.progress import signals

__all__ = ["report_call"]


@contextmanager
def report_call(app: Any, name: str, headers: Mapping[str, Any]) -> Iterator[None]:
    """Tell that a task is queued before it is published inside, so that its worker's word comes later."""
    task_id = headers.get("id")
    if not task_id:  # a message of Celery's first protocol
        yield
    elif headers.get("retries"):
        signals.report_retry(app, task_id, name, _timestamp(headers.get("eta")), tracked=_is_tracked(app, name))
        yield
    elif not _is_tracked(app, name):
        yield
    else:
        signals.report_queued(app, task_id, name, _timestamp(headers.get("eta")))
        try:
            yield
        except BaseException:
            signals.report_not_queued(app, task_id)
            raise


def _is_tracked(app: Any, name: str) -> bool:
    """Whether a task says ``track=True``, in its code where that is not imported here."""
    if name in app._tasks:
        return bool(getattr(app._tasks[name], "track", False))
    entry = catalog.find(app.loader.default_modules, name)
    return entry is not None and entry.tracked


def _timestamp(eta: str | None) -> float | None:
    return datetime.fromisoformat(eta).timestamp() if eta else None
