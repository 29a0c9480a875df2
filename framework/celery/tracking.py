"""What a call tells of its task, where the task asks for that: it is queued, or about to be tried again."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from framework import runs
from framework.discovery import catalog

__all__ = ["told"]


@contextmanager
def told(app: Any, name: str, headers: Mapping[str, Any]) -> Iterator[None]:
    """Tell that a task is queued before it is published inside, so that its worker's word comes later."""
    task_id = headers.get("id")
    if not task_id:  # a message of Celery's first protocol
        yield
    elif headers.get("retries"):
        runs.tell_retry(app, task_id, name, _moment(headers.get("eta")), tracked=_is_tracked(app, name))
        yield
    elif not _is_tracked(app, name):
        yield
    else:
        runs.tell_queued(app, task_id, name, _moment(headers.get("eta")))
        try:
            yield
        except BaseException:
            runs.tell_not_queued(app, task_id)
            raise


def _is_tracked(app: Any, name: str) -> bool:
    """Whether a task says ``track=True``, in its code where that is not imported here."""
    if name in app._tasks:
        return bool(getattr(app._tasks[name], "track", False))
    entry = catalog.find(app.loader.default_modules, name)
    return entry is not None and entry.tracked


def _moment(eta: str | None) -> float | None:
    return datetime.fromisoformat(eta).timestamp() if eta else None
