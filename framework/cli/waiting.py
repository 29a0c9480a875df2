"""Waits for the results of tasks in a script, with a progress bar."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import click
from celery.exceptions import TimeoutError as ResultTimeout
from celery.result import AsyncResult
from kombu.exceptions import OperationalError

from framework.broker.url import sanitized
from framework.errors import BrokerNotReady, NoWorker, TaskFailed, TookTooLong

__all__ = ["wait_for", "wait_until"]

#: Seconds without a result after which the workers are pinged.
WORKER_CHECK_SECONDS = 8.0
#: Seconds that workers have to respond.
PING_TIMEOUT_SECONDS = 2.0
#: Seconds between two polls of a condition.
POLL_INTERVAL_SECONDS = 0.05


def wait_for(results: "Mapping[str, AsyncResult[Any]]", timeout: float = 60.0) -> dict[str, Any]:
    """Wait for every result and show how many have arrived; return the tasks' results under the same names.

    Args:
        results: the results of ``delay``, ``apply_async`` or ``send_task``, each under a name for the user.
        timeout: seconds for all results together.

    Raises:
        TaskFailed: a task failed.
        NoWorker: no worker responds.
        TookTooLong: a task has not ended in time.
        BrokerNotReady: the connection to the broker was lost.
    """
    deadline = time.monotonic() + timeout
    with click.progressbar(results.items(), label=f"Waiting for {len(results)} tasks", show_eta=False) as bar:
        return {name: _value(name, result, timeout, deadline) for name, result in bar}


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 10.0) -> None:
    """Wait until ``condition()`` is true.

    Raises:
        TookTooLong: the condition was still false after ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TookTooLong.named(what, timeout, "nothing came")
        time.sleep(POLL_INTERVAL_SECONDS)


def _value(name: str, result: "AsyncResult[Any]", timeout: float, deadline: float) -> Any:
    try:
        value = _get(result, deadline)
    except ResultTimeout:
        raise TookTooLong.named(name, timeout, result.state) from None
    except (OperationalError, OSError) as exc:
        fix = "It was lost during the wait. The queued tasks are not lost: workers continue once it is back."
        raise BrokerNotReady.at(_url(result), exc, fix) from None
    if result.failed():
        raise TaskFailed.named(name, value)
    return value


def _get(result: "AsyncResult[Any]", deadline: float) -> Any:
    try:
        return result.get(timeout=min(WORKER_CHECK_SECONDS, _remaining(deadline)), propagate=False)
    except ResultTimeout:
        if not result.app.control.ping(timeout=PING_TIMEOUT_SECONDS):
            raise NoWorker.at(_url(result)) from None
    return result.get(timeout=_remaining(deadline), propagate=False)


def _remaining(deadline: float) -> float:
    return max(deadline - time.monotonic(), POLL_INTERVAL_SECONDS)


def _url(result: "AsyncResult[Any]") -> str:
    return sanitized(result.app.conf.broker_write_url)
