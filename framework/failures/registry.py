"""Failed tasks: seen, sent again, dropped, and written to a file, while workers work and more of them fail.

What lies in the queue of failed tasks is read and put back as it was. A task is taken out only when it has
been sent again and the broker has confirmed that, or when it is dropped on purpose: whoever does either may be killed
at any moment and loses nothing; at worst a task is sent again twice, with one id.
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

#: Every failed task that is there.
ALL: Literal["all"] = "all"


class Failures:
    """The failed tasks of an application. One reads at a time; another waits for some seconds, then raises.

    What is shown has no secrets: the setting ``task_redacted_arguments`` names the arguments that are hidden. The
    messages themselves keep them, or they could not be sent again.

    Each method raises `~framework.errors.FailedTasksBusy` while somebody else reads, and
    ``kombu.exceptions.OperationalError`` where the
    broker cannot be reached.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._hidden: Collection[str] = setting(app, "task_redacted_arguments")

    def count(self) -> int:
        """How many failed tasks there are."""
        with FailedQueue(self._app) as queue:
            return queue.total

    def page(
        self, limit: int = 50, offset: int = 0, reason: str | None = None, task: str | None = None
    ) -> list[FailedTask]:
        """Some failed tasks, the oldest first; ``offset`` skips as many, ``reason`` and ``task`` select."""
        with FailedQueue(self._app) as queue:
            # RabbitMQ puts what was looked at behind what was not: all are looked at, and their times give the order.
            found = (entry for entry in queue if _fits(entry, reason, task))
            first = nsmallest(offset + limit, found, key=lambda entry: entry.failed_at or LONG_AGO)
        return [self._shown(entry) for entry in first[offset:]]

    def get(self, id: str) -> FailedTask:  # noqa: A002
        """The failed task with that id.

        Raises:
            UnknownFailure: there is none; the message has the nearest id.
        """
        known: list[str] = []
        with FailedQueue(self._app) as queue:
            for entry in queue:
                if entry.id == id:
                    return self._shown(entry)
                known.append(entry.id)
        raise UnknownFailure.named([id], known)

    def retry(
        self, ids: Collection[str] | Literal["all"], *, reason: str | None = None, task: str | None = None
    ) -> int:
        """Send failed tasks to their queues again, with their ids, as if never tried; how many were sent.

        Args:
            ids: which ones; `ALL` means every one that was there at the start.
            reason: only those with this reason.
            task: only those of the task with this name.

        Raises:
            UnknownFailure: an id is unknown; the others were sent.
            NotRetried: a queue refused a task, which stays; the others were sent.
        """
        refused: dict[str, str] = {}

        def send(queue: FailedQueue, entry: FailedMessage) -> bool:
            try:
                queue.send_again(entry)
            except RetryRefused as exc:
                refused[entry.id] = str(exc)
                return False
            return True

        sent = self._settle(ids, send, reason, task)
        if refused:
            raise NotRetried.of(refused, sent)
        return sent

    def drop(self, ids: Collection[str] | Literal["all"], *, reason: str | None = None, task: str | None = None) -> int:
        """Delete failed tasks for good; how many were deleted. Arguments are those of `retry`.

        Raises:
            UnknownFailure: an id is unknown; the others were deleted.
        """
        return self._settle(ids, lambda _queue, _entry: True, reason, task)

    def export(self, path: Path | str, *, redacted: bool = False) -> int:
        """Write every failed task to a file, one JSON object a line; how many there are.

        The file is complete or is not there; it is readable by its owner alone, since it holds what arguments hold,
        unless they are ``redacted``. ``-`` is the standard output.
        """
        with _output(path) as file, FailedQueue(self._app) as queue:
            count = 0
            for count, entry in enumerate(queue, start=1):  # noqa: B007
                file.write(json.dumps(self._exported(entry, redacted=redacted), default=str, ensure_ascii=False) + "\n")
            return count

    def _shown(self, entry: FailedMessage) -> FailedTask:
        return entry.shown(self._app, self._hidden)

    def _exported(self, entry: FailedMessage, *, redacted: bool) -> dict[str, Any]:
        fields = asdict(entry.shown(self._app, self._hidden if redacted else ()))
        return fields if redacted or entry.understood else fields | entry.raw

    def _settle(
        self,
        ids: Collection[str] | Literal["all"],
        effect: Callable[[FailedQueue, FailedMessage], bool],
        reason: str | None,
        task: str | None,
    ) -> int:
        """Take entries out of the queue once their ``effect`` is there."""
        wanted = None if ids == ALL else {ids} if isinstance(ids, str) else set(ids)
        known: set[str] = set()
        count = 0
        with FailedQueue(self._app) as queue:
            for entry in queue:
                known.add(entry.id)
                if (wanted is None or entry.id in wanted) and _fits(entry, reason, task) and effect(queue, entry):
                    queue.settle(entry)
                    count += 1
        if wanted is not None and (unknown := wanted - known):
            raise UnknownFailure.named(sorted(unknown), known)
        return count


def _fits(entry: FailedMessage, reason: str | None, task: str | None) -> bool:
    return reason in (None, entry.reason) and task in (None, entry.task)


@contextmanager
def _output(path: Path | str) -> Iterator[TextIO]:
    """A file that takes its place once it is complete."""
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
