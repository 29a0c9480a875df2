"""One task in a worker: a failure is recorded as a failed task before the message is acknowledged."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback  # type: ignore[attr-defined]
from celery.exceptions import (
    Ignore,
    Reject,
    Retry,
    SoftTimeLimitExceeded,
    Terminated,
    TimeLimitExceeded,
    WorkerLostError,
)
from celery.utils.log import get_logger
from celery.utils.serialization import UnpickleableExceptionWrapper
from kombu.utils.encoding import safe_str

from framework.celery import compat
from framework.errors import describe
from framework.failures.recorder import record_failure
from framework.limits.admission import LOCK, unique_of
from framework.limits.unique import Unique, release
from framework.progress import signals

__all__ = ["Request"]

log = get_logger(__name__)

#: Exceptions by which a task directs the worker; none of them is a failure.
NO_FAILURES = (Retry, Ignore, Reject, Terminated)


@dataclass(frozen=True)
class Failure:
    """Why a task failed, as it is recorded."""

    reason: str
    error: str
    traceback: str


class Request(compat.Request):
    """Celery's request; a failure that nothing will retry is recorded before the message is acknowledged.

    The reason is ``failed`` (an exception), ``timeout`` (a time limit, hard or soft) or ``lost`` (the process that ran
    it died). An exception of ``Task.throws`` is expected, and not recorded. A failure that cannot be recorded puts the
    task back into its queue.
    """

    _failure: Failure | None = None

    #: The task continues in another message, and keeps its lock.
    _continues = False

    def __init_subclass__(cls, **options: Any) -> None:
        """Wrap `on_success` of the subclass that Celery makes for each task, which expects prefork's results only."""
        super().__init_subclass__(**options)
        on_success = cls.on_success

        def on_end(self: Any, outcome: Any, **more: Any) -> Any:
            if isinstance(outcome, ExceptionInfo):  # the task called sys.exit
                return self.on_failure(outcome)
            try:
                return on_success(self, outcome, **more)
            finally:
                self._release_lock_early()

        cls.on_success = on_end

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:
        """Record the failure of a task that raised an exception, or whose process died."""
        exc = _unwrapped(exc_info)
        if isinstance(exc, MemoryError):
            # Celery raises it in the worker, which would end: but the task's process had no memory left.
            exc_info = _worker_lost(exc)
        try:
            with self._recorded(self._failure_of(exc_info)):
                super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)
        finally:
            self._release_lock_early()

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Record the failure of a task that passed its hard time limit; the soft one is raised inside the task."""
        late = Failure("timeout", f"TimeLimitExceeded: {timeout} s", "")
        with self._recorded(None if soft else late):
            super().on_timeout(soft, timeout)
        if not soft:
            self._release_lock_early()

    def acknowledge(self) -> None:
        """Acknowledge the message after recording a failure; requeue it where that cannot be recorded."""
        if self.acknowledged or self._record():
            if self.task.acks_late or not self.time_start:  # acknowledged early, the task begins only now
                self._release_lock()
            super().acknowledge()
        else:
            self.reject(requeue=True)

    def on_retry(self, exc_info: Any) -> None:
        """Keep the lock of a task whose retry is queued."""
        self._continues = True
        super().on_retry(exc_info)

    def _release_lock(self) -> None:
        """Release the lock of a unique task before its message is acknowledged, so that no lock outlives its task."""
        lock = self.request_dict.get(LOCK)
        if lock is None or self._continues:
            return
        unique = unique_of(self.task) or Unique()
        try:
            release(self.app, lock, self.id, unique.expires)
        except Exception as exc:
            log.warning("Task %s[%s]: its lock stays until it expires: %s", self.name, self.id, describe(exc))

    def _release_lock_early(self) -> None:
        """Release it at the end of a task that was acknowledged before it began."""
        if not self.task.acks_late:
            self._release_lock()

    def announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:
        """Announce that the task was revoked, unless it was stopped because the connection was lost."""
        if terminated and self.message.channel.connection is None:
            # Its process was ended because the connection is lost; the message is delivered to another worker.
            self.was_cancelled = True
            return
        super().announce_revoked(reason, terminated, signum, expired)

    def reject(self, requeue: bool = False) -> None:
        """Requeue or dead-letter the message."""
        if not requeue:
            self._release_lock()
        super().reject(requeue=requeue)
        if requeue and self.message.headers.get("x-delivery-count", 0) >= self.app.conf.task_delivery_limit:
            signals.report_given_up(self.task, self.id)

    @contextmanager
    def _recorded(self, failure: Failure | None) -> Iterator[None]:
        """Record ``failure`` when the message is acknowledged inside; at the end, where it was acknowledged early."""
        acknowledged_early = self.acknowledged and not self.task.acks_late
        self._failure = failure
        try:
            yield
        except Exception:
            # An error of the task's hook or the result backend does not decide about the message.
            log.exception("Task %s[%s]: its failure could not be reported everywhere", self.name, self.id)
            if not self.acknowledged:
                self.acknowledge()
        finally:
            if acknowledged_early:
                self._record()
            self._failure = None

    def _record(self) -> bool:
        """Record the failure, if there is one; return False where that was not possible."""
        failure, self._failure = self._failure, None
        if failure is None:
            return True
        try:
            record_failure(
                self.app,
                self.message,
                reason=failure.reason,
                error=failure.error,
                traceback=failure.traceback,
                attempts=(self.request_dict.get("retries") or 0) + 1,
                worker=self.hostname,
            )
        except Exception as exc:
            log.critical(
                "Task %s[%s] failed (%s) and cannot be stored in %s: %s",
                self.name,
                self.id,
                failure.error,
                self.app.conf.task_failed_queue,
                describe(exc),
            )
            return False
        return True

    def _failure_of(self, exc_info: Any) -> Failure | None:
        exc = _unwrapped(exc_info)
        if isinstance(exc, NO_FAILURES) or self._is_expected(exc, exc_info.type):
            return None
        if isinstance(exc, SystemExit | KeyboardInterrupt) and (self.was_cancelled or self.was_revoked):
            return None
        return Failure(_reason(exc), _error(exc), safe_str(exc_info.traceback))

    def _is_expected(self, exc: BaseException, kind: Any) -> bool:
        throws = self.task.throws or ()
        return isinstance(exc, throws) or (isinstance(kind, type) and issubclass(kind, throws))

    def success_was_stored(self) -> Any:
        """Record no failure where the task succeeded before its process died."""
        stored = super().success_was_stored()
        if stored:  # its process died after it had done its work
            self._failure = None
        return stored

    def retry_worker_lost(self, exc: BaseException, exc_info: Any) -> bool:
        """Retry a task whose process died; its failure is recorded only when no retry is left."""
        failure, self._failure = self._failure, None  # acknowledged inside, once its retry is queued
        self._continues = True
        retried = self._continues = super().retry_worker_lost(exc, exc_info)
        self._failure = None if retried else failure
        return retried


def _worker_lost(exc: BaseException) -> ExceptionInfo:
    try:
        raise WorkerLostError(f"The task ran out of memory: {describe(exc)}")  # noqa: TRY301
    except WorkerLostError:
        return ExceptionInfo()


def _unwrapped(exc_info: Any) -> BaseException:
    exc: BaseException = exc_info.exception
    return exc.exc if isinstance(exc, ExceptionWithTraceback) else exc


def _reason(exc: BaseException) -> str:
    if isinstance(exc, TimeLimitExceeded | SoftTimeLimitExceeded):
        return "timeout"
    return "lost" if isinstance(exc, WorkerLostError | SystemExit | KeyboardInterrupt) else "failed"


def _error(exc: BaseException) -> str:
    if isinstance(exc, UnpickleableExceptionWrapper):
        return safe_str(exc.text)  # type: ignore[attr-defined]
    try:
        return describe(exc)
    except Exception:  # its __str__ raises; the task failed all the same
        return type(exc).__name__
