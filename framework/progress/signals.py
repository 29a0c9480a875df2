"""Reports the states of tasks at Celery's signals, and the runs of this process."""

import sys
import time
from typing import Any

from celery import current_app, signals
from celery.exceptions import Reject, TimeLimitExceeded, WorkerLostError
from celery.states import IGNORED

from framework.broker.deadline import bounded
from framework.progress import store
from framework.progress.publisher import publisher_for
from framework.progress.run import (
    CALL_TIMEOUT_SECONDS,
    LAST_NUMBER,
    Run,
    finalize_state,
    public_error,
    publish_state,
    result_as_json,
)
from framework.progress.state import FINAL, State, Status
from framework.progress.store import StateStore, encoded

__all__ = [
    "connect_signals",
    "current_run",
    "remember_retry_reason",
    "report_given_up",
    "report_not_queued",
    "report_queued",
    "report_retry",
]


# Failures that the worker's main process reports: it does not know which states the pool process has published.
REPORTED_BY_MAIN_PROCESS = (TimeLimitExceeded, WorkerLostError, Reject)

_runs: dict[str, "Run"] = {}
_retry_reasons: dict[str, BaseException] = {}


def current_run() -> Run | None:
    """Return the run that the caller is part of; None outside of a task that a worker runs."""
    task: Any = current_app.current_worker_task  # not a task that the running one called as a function
    if task is None or task.request.is_eager:
        return None
    return _runs.get(task.request.id) or _begin(task, task.request)


def connect_signals() -> None:
    """Connect to Celery's signals, which report each tracked task of this process."""
    signals.task_prerun.connect(_on_prerun, weak=False, dispatch_uid="framework.progress.run")
    signals.task_success.connect(_on_success, weak=False, dispatch_uid="framework.progress.run")
    signals.task_failure.connect(_on_failure, weak=False, dispatch_uid="framework.progress.run")
    signals.task_revoked.connect(_on_revoked, weak=False, dispatch_uid="framework.progress.run")
    signals.task_postrun.connect(_on_postrun, weak=False, dispatch_uid="framework.progress.run")


def report_queued(app: Any, task_id: str, name: str, at: float | None) -> None:
    """Publish that a task is queued, until ``at`` where it has a time; return when that is done or has timed out."""
    state = State(task_id, name, "queued", 0, time.time(), retry_at=at)

    def send(states: StateStore) -> None:
        if states.reserve(task_id):
            store.replace(states.channel, task_id, encoded(state))

    publisher_for(app).publish(send, retry=False, timeout=bounded(CALL_TIMEOUT_SECONDS) or 0.0)


def report_not_queued(app: Any, task_id: str) -> None:
    """Delete the state of a task whose call failed."""
    publisher_for(app).publish(lambda states: store.delete(states.channel, task_id), retry=False)


def report_retry(app: Any, task_id: str, name: str, at: float | None, *, tracked: bool) -> None:
    """Publish that a task will be retried, at a time."""
    reason = _retry_reasons.pop(task_id, None)
    error = public_error(reason) if reason else None
    if task_id in _runs:
        _runs[task_id].retry(at, error)
    elif tracked:
        _report_after_last_state(app, task_id, name, "retry", error, retry_at=at, tracked=True)


def report_given_up(task: Any, task_id: str) -> None:
    """Publish that a task has failed because its process ended at each delivery."""
    _report_end(task, task_id, "failure", "What was running it ended unexpectedly each time.")


def remember_retry_reason(task_id: str | None, reason: BaseException | None) -> None:
    """Remember why a task is retried, for `report_retry`."""
    reason = reason or sys.exc_info()[1]
    if task_id is not None and task_id in _runs and reason is not None:
        _retry_reasons[task_id] = reason


def _begin(task: Any, request: Any) -> Run:
    connect_signals()  # an untracked task is reported from its first progress on
    run = _runs[request.id] = Run(task.app, request, request.task or task.name)
    run.start()
    return run


def _on_prerun(task: Any, **_: Any) -> None:
    request = task.request
    if getattr(task, "track", False) and not request.called_directly and not request.is_eager:
        _begin(task, request)


def _on_success(sender: Any, result: Any, **_: Any) -> None:
    if (run := _runs.pop(sender.request.id, None)) is not None:
        run.end("success", result=result_as_json(result))


def _on_failure(sender: Any, task_id: str, exception: BaseException, **_: Any) -> None:
    run = _runs.pop(task_id, None)
    if isinstance(exception, MemoryError):  # the pool process is ended, and the task runs again
        return
    error = public_error(exception, tuple(sender.throws or ()))
    if run is not None:
        run.end("failure", error=error)
    elif isinstance(exception, REPORTED_BY_MAIN_PROCESS) and not _runs_again(sender, exception):
        _report_end(sender, task_id, "failure", error)


def _runs_again(task: Any, exc: BaseException) -> bool:
    return isinstance(exc, TimeLimitExceeded) and task.acks_late and not task.acks_on_timeout


def _on_revoked(sender: Any, request: Any, expired: bool, **_: Any) -> None:
    error = "It was not started in time." if expired else "It was called off."
    _report_end(sender, request.id, "revoked", error)


def _on_postrun(task_id: str, state: str | None, **_: Any) -> None:
    _retry_reasons.pop(task_id, None)
    run = _runs.pop(task_id, None)
    if run is not None and state == IGNORED:
        run.end("revoked", error="It was called off.")
    elif run is not None:  # it is retried, or was rejected: the main process reports that
        run.stop()


def _report_end(task: Any, task_id: str, status: Status, error: str) -> None:
    tracked = bool(getattr(task, "track", False))
    _report_after_last_state(task.app, task_id, task.name, status, error, tracked=tracked)


def _report_after_last_state(
    app: Any,
    task_id: str,
    name: str,
    status: Status,
    error: str | None,
    *,
    retry_at: float | None = None,
    tracked: bool,
) -> None:
    """Publish a state that follows the last one, for a process that does not run the task."""

    def send(states: StateStore) -> None:
        last = states.last_state(task_id)
        if (last is None and not tracked) or (last is not None and last.final):
            return
        state = State(
            task_id,
            name,
            status,
            last.number + 1 if last else LAST_NUMBER,
            time.time(),
            last.attempt if last else 1,
            progress=last.progress if last else None,
            retry_at=retry_at,
            error=error,
        )
        (finalize_state if status in FINAL else publish_state)(states, state)

    publisher_for(app).publish(send, retry=True, timeout=bounded(CALL_TIMEOUT_SECONDS) or 0.0)
