"""One task in a worker: what failed for good is kept among the failed tasks before its message is let go."""

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
from framework.limits.admission import LOCK
from framework.limits.unique import release
from framework.progress import signals

__all__ = ["Request"]

log = get_logger(__name__)

#: What a task raises to say what should become of it; none of them is a failure.
NO_FAILURES = (Retry, Ignore, Reject, Terminated)


@dataclass(frozen=True)
class Failure:
    """Why a task failed, as the failed tasks tell it."""

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

    #: The task goes on in another message: it keeps what it holds.
    _goes_on = False

    def __init_subclass__(cls, **options: Any) -> None:
        """Celery makes a subclass for each task, whose `on_success` does not know what threads and solo hand over."""
        super().__init_subclass__(**options)
        on_success = cls.on_success

        def on_end(self: Any, outcome: Any, **more: Any) -> Any:
            if isinstance(outcome, ExceptionInfo):  # the task called sys.exit
                return self.on_failure(outcome)
            try:
                return on_success(self, outcome, **more)
            finally:
                self._let_go_early()

        cls.on_success = on_end

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:
        """Called when the task raised an exception, or its process died."""
        exc = _unwrapped(exc_info)
        if isinstance(exc, MemoryError):
            # Celery raises it anew, which would end the worker: but it was the task's process that had no memory left.
            exc_info = _worker_lost(exc)
        try:
            with self._recorded(self._failure_of(exc_info)):
                super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)
        finally:
            self._let_go_early()

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Called when a time limit has passed; the soft one is raised inside the task."""
        late = Failure("timeout", f"TimeLimitExceeded: {timeout} s", "")
        with self._recorded(None if soft else late):
            super().on_timeout(soft, timeout)
        if not soft:
            self._let_go_early()

    def acknowledge(self) -> None:
        """Let go of the message; a failure is recorded first, and the message put back where that cannot be done."""
        if self.acknowledged or self._record():
            if self.task.acks_late or not self.time_start:  # with early ones, the task only begins now
                self._let_go()
            super().acknowledge()
        else:
            self.reject(requeue=True)

    def on_retry(self, exc_info: Any) -> None:
        """Called when the task is to be tried again, which is queued already."""
        self._goes_on = True
        super().on_retry(exc_info)

    def _let_go(self) -> None:
        """Give back the lock of a unique task, before its message is let go: a lock outlives no task."""
        lock = self.request_dict.get(LOCK)
        if lock is None or self._goes_on:
            return
        try:
            release(self.app, lock, self.id)
        except Exception as exc:
            log.warning("Task %s[%s]: its lock stays until it expires: %s", self.name, self.id, describe(exc))

    def _let_go_early(self) -> None:
        """Do so at the end of a task that had been acknowledged before it began."""
        if not self.task.acks_late:
            self._let_go()

    def announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:
        """Announce that the task was revoked, unless it was stopped because the connection was lost."""
        if terminated and self.message.channel.connection is None:
            # Its process was ended because the connection is lost: whoever gets the message next run it.
            self.was_cancelled = True
            return
        super().announce_revoked(reason, terminated, signum, expired)

    def reject(self, requeue: bool = False) -> None:
        """Give the message back, or to the dead letters."""
        if not requeue:
            self._let_go()
        super().reject(requeue=requeue)
        if requeue and self.message.headers.get("x-delivery-count", 0) >= self.app.conf.task_delivery_limit:
            signals.report_given_up(self.task, self.id)

    @contextmanager
    def _recorded(self, failure: Failure | None) -> Iterator[None]:
        """Record ``failure`` when the message is acknowledged inside; at the end, where that had been done before."""
        acknowledged_early = self.acknowledged and not self.task.acks_late
        self._failure = failure
        try:
            yield
        except Exception:
            # A hook of the task, or the result backend: it decides nothing about the message.
            log.exception("Task %s[%s]: its failure could not be told to everyone", self.name, self.id)
            if not self.acknowledged:
                self.acknowledge()
        finally:
            if acknowledged_early:
                self._record()
            self._failure = None

    def _record(self) -> bool:
        """Keep the task among the failed ones, where it failed; False if that could not be done."""
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
                "Task %s[%s] failed (%s) and cannot be kept in %s: %s",
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
        self._goes_on = True
        retried = self._goes_on = super().retry_worker_lost(exc, exc_info)
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
    except Exception:  # whoever wrote its __str__ is to blame, and the task failed all the same
        return type(exc).__name__
