"""Lists, retries, drops and exports failed tasks, while workers run and more tasks fail.

Reading the failed-task queue leaves it unchanged. A task is removed only after the broker has confirmed its retry, or
when it is dropped: a process killed at any time loses no task; at worst a task is retried twice, with one id.
"""

import json
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from heapq import nsmallest
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Literal, TextIO

from celery import Celery

from framework.config import setting
from framework.errors import NotRetried, UnknownFailure
from framework.failures.entry import FailedMessage, FailedTask
from framework.failures.reader import FailedQueue, RetryRefused

__all__ = ["ALL", "Failures"]


LONG_AGO = datetime.min.replace(tzinfo=UTC)

#: Selects every failed task.
ALL: Literal["all"] = "all"


class Failures:
    """The failed tasks of an application; one process reads them at a time.

    Secrets are redacted: the setting ``task_redacted_arguments`` names the arguments. The messages keep them, for
    retries.

    Each method raises `~framework.errors.FailedTasksBusy` if another process reads for more than some seconds, and
    `~framework.errors.BrokerUnreachable` if the broker does not answer within ``task_publish_timeout``.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._secret_names: Collection[str] = setting(app, "task_redacted_arguments")

    def count(self) -> int:
        """Return how many failed tasks there are."""
        with FailedQueue(self._app) as queue:
            return queue.total

    def page(
        self, limit: int = 50, offset: int = 0, reason: str | None = None, task: str | None = None
    ) -> list[FailedTask]:
        """Return at most ``limit`` failed tasks from ``offset`` on, oldest first; ``reason`` and ``task`` select."""
        with FailedQueue(self._app) as queue:
            # RabbitMQ requeues messages that were read behind the others: all are read, and sorted by their times.
            found = (entry.without_large_body() for entry in queue if _fits(entry, reason, task))
            first = nsmallest(offset + limit, found, key=lambda entry: entry.failed_at or LONG_AGO)
        return [self._redacted(entry) for entry in first[offset:]]

    def get(self, id: str) -> FailedTask:  # noqa: A002
        """Return the failed task with that id.

        Raises:
            UnknownFailure: there is none; the message names the nearest id.
        """
        known: list[str] = []
        with FailedQueue(self._app) as queue:
            for entry in queue:
                if entry.id == id:
                    return self._redacted(entry)
                known.append(entry.id)
        raise UnknownFailure.named([id], known)

    def retry(
        self, ids: Collection[str] | Literal["all"], *, reason: str | None = None, task: str | None = None
    ) -> int:
        """Publish failed tasks to their queues, with their ids, as if they had never run; return how many.

        Args:
            ids: which ones; `ALL` selects all that are there at the start.
            reason: only those with this reason.
            task: only those of the task with this name.

        Raises:
            UnknownFailure: an id is unknown; the others were retried.
            NotRetried: a queue refused a task, which stays; the others were retried.
        """
        refused: dict[str, str] = {}

        def retry(queue: FailedQueue, entry: FailedMessage) -> bool:
            try:
                queue.retry(entry)
            except RetryRefused as exc:
                refused[entry.id] = str(exc)
                return False
            return True

        sent = self._remove(ids, retry, reason, task)
        if refused:
            raise NotRetried.of(refused, sent)
        return sent

    def drop(self, ids: Collection[str] | Literal["all"], *, reason: str | None = None, task: str | None = None) -> int:
        """Delete failed tasks for good; return how many. Arguments are those of `retry`.

        Raises:
            UnknownFailure: an id is unknown; the others were deleted.
        """
        return self._remove(ids, lambda _queue, _entry: True, reason, task)

    def export(self, path: Path | str, *, redacted: bool = False) -> int:
        """Write every failed task to a file, one JSON object per line; return how many there are.

        The file appears when it is complete, and only its owner can read it, since arguments are in it unless they are
        ``redacted``. ``-`` is the standard output.
        """
        with _output(path) as file, FailedQueue(self._app) as queue:
            count = 0
            for count, entry in enumerate(queue, start=1):  # noqa: B007
                file.write(json.dumps(self._exported(entry, redacted=redacted), default=str, ensure_ascii=False) + "\n")
            return count

    def _redacted(self, entry: FailedMessage) -> FailedTask:
        return entry.redacted(self._app, self._secret_names)

    def _exported(self, entry: FailedMessage, *, redacted: bool) -> dict[str, Any]:
        fields = asdict(entry.redacted(self._app, self._secret_names if redacted else ()))
        return fields if redacted or entry.understood else fields | entry.raw

    def _remove(
        self,
        ids: Collection[str] | Literal["all"],
        effect: Callable[[FailedQueue, FailedMessage], bool],
        reason: str | None,
        task: str | None,
    ) -> int:
        """Remove the selected tasks for which ``effect`` returns true; return how many."""
        wanted = None if ids == ALL else {ids} if isinstance(ids, str) else set(ids)
        known: set[str] = set()
        count = 0
        with FailedQueue(self._app) as queue:
            for entry in queue:
                known.add(entry.id)
                if (wanted is None or entry.id in wanted) and _fits(entry, reason, task) and effect(queue, entry):
                    queue.remove(entry)
                    count += 1
        if wanted is not None and (unknown := wanted - known):
            raise UnknownFailure.named(sorted(unknown), known)
        return count


def _fits(entry: FailedMessage, reason: str | None, task: str | None) -> bool:
    return reason in (None, entry.reason) and task in (None, entry.task)


@contextmanager
def _output(path: Path | str) -> Iterator[TextIO]:
    """Open a temporary file that is renamed to ``path`` when the block ends."""
    if str(path) == "-":
        yield sys.stdout
        return
    target = Path(path)
    with NamedTemporaryFile("w", encoding="utf-8", dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
        written = Path(file.name)
        try:
            yield file  # type: ignore[misc]
            file.flush()
            written.replace(target)
        except BaseException:
            written.unlink()
            raise
