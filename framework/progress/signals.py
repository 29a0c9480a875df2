"""The runs of this process, connected to Celery's signals: each tracked task is reported from its start to its end."""

import sys
import time
from typing import Any

from celery import current_app, signals
from celery.exceptions import Reject, TimeLimitExceeded, WorkerLostError
from celery.states import IGNORED

from framework.progress import store
from framework.progress.publisher import publisher_for
from framework.progress.run import (
    CALL_TIMEOUT_SECONDS,
    LAST_NUMBER,
    Run,
    _result_as_json,
    conclude_state,
    public_error,
    publish_state,
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


# Failures that the worker's main process tells of, which knows nothing of what its pool's process has told.
REPORTED_BY_MAIN_PROCESS = (TimeLimitExceeded, WorkerLostError, Reject)

_runs: dict[str, "Run"] = {}
_reasons: dict[str, BaseException] = {}


def current_run() -> Run | None:
    """Return the run that the caller is part of; None outside of a task that a worker runs."""
    task: Any = current_app.current_worker_task  # not a task that the running one called as a function
    if task is None or task.request.is_eager:
        return None
    return _runs.get(task.request.id) or _begin(task, task.request)


def connect_signals() -> None:
    """Follow every task of this process that asks for it, from its start to its end."""
    signals.task_prerun.connect(_on_prerun, weak=False, dispatch_uid="framework.progress.run")
    signals.task_success.connect(_on_success, weak=False, dispatch_uid="framework.progress.run")
    signals.task_failure.connect(_on_failure, weak=False, dispatch_uid="framework.progress.run")
    signals.task_revoked.connect(_on_revoked, weak=False, dispatch_uid="framework.progress.run")
    signals.task_postrun.connect(_on_postrun, weak=False, dispatch_uid="framework.progress.run")


def report_queued(app: Any, task_id: str, name: str, at: float | None) -> None:
    """Tell that a task was called and waits for a worker, or for its time; returns when that is told, or cannot be."""
    state = State(task_id, name, "queued", 0, time.time(), retry_at=at)

    def tell(line: StateStore) -> None:
        if line.make(task_id):
            store.put(line.channel, task_id, encoded(state))

    publisher_for(app).tell(tell, keep=False, wait=CALL_TIMEOUT_SECONDS)


def report_not_queued(app: Any, task_id: str) -> None:
    """The call failed: nothing is known of the task."""
    publisher_for(app).tell(lambda line: store.forget(line.channel, task_id), keep=False)


def report_retry(app: Any, task_id: str, name: str, at: float | None, *, tracked: bool) -> None:
    """Tell that a task is about to be tried again, at a time."""
    reason = _reasons.pop(task_id, None)
    error = public_error(reason) if reason else None
    if task_id in _runs:
        _runs[task_id].retry(at, error)
    elif tracked:
        _report_by_last_state(app, task_id, name, "retry", error, retry_at=at, tracked=True)


def report_given_up(task: Any, task_id: str) -> None:
    """Tell that the broker will not have a task run again: whatever ran it ended each time."""
    _report_end(task, task_id, "failure", "What was running it ended unexpectedly each time.")


def remember_retry_reason(task_id: str | None, reason: BaseException | None) -> None:
    """Remember why a task asks to be tried again, for when that is told."""
    reason = reason or sys.exc_info()[1]
    if task_id is not None and task_id in _runs and reason is not None:
        _reasons[task_id] = reason


def _begin(task: Any, request: Any) -> Run:
    connect_signals()  # a task that reports its progress is told of from there on
    run = _runs[request.id] = Run(task.app, request, request.task or task.name)
    run.start()
    return run


def _on_prerun(task: Any, **_: Any) -> None:
    request = task.request
    if getattr(task, "track", False) and not request.called_directly and not request.is_eager:
        _begin(task, request)


def _on_success(sender: Any, result: Any, **_: Any) -> None:
    if (run := _runs.pop(sender.request.id, None)) is not None:
        run.end("success", result=_result_as_json(result))


def _on_failure(sender: Any, task_id: str, exception: BaseException, **_: Any) -> None:
    run = _runs.pop(task_id, None)
    if isinstance(exception, MemoryError):  # what ran it is ended for that, and the task runs again
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
    _reasons.pop(task_id, None)
    run = _runs.pop(task_id, None)
    if run is not None and state == IGNORED:
        run.end("revoked", error="It was called off.")
    elif run is not None:  # it is tried again, or was rejected: the worker knows what becomes of it
        run.leave()


def _report_end(task: Any, task_id: str, status: Status, error: str) -> None:
    tracked = bool(getattr(task, "track", False))
    _report_by_last_state(task.app, task_id, task.name, status, error, tracked=tracked)


def _report_by_last_state(
    app: Any,
    task_id: str,
    name: str,
    status: Status,
    error: str | None,
    *,
    retry_at: float | None = None,
    tracked: bool,
) -> None:
    """Tell what became of a task by one who knows no more of it than its last state."""

    def tell(line: StateStore) -> None:
        last = line.look(task_id)
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
        (conclude_state if status in FINAL else publish_state)(line, state)

    publisher_for(app).tell(tell, keep=True, wait=CALL_TIMEOUT_SECONDS)
