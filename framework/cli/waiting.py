"""Waiting for results in a script, with a progress display."""

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

#: Seconds without a result after which we look whether there is a worker at all.
DOUBT = 8.0
#: Seconds that workers have to answer then.
ANSWER = 2.0
#: Seconds between two looks at something that cannot tell when it changes.
PAUSE = 0.05


def wait_for(results: "Mapping[str, AsyncResult[Any]]", timeout: float = 60.0) -> dict[str, Any]:
    """Wait for every result, showing how many are there; returns what the tasks returned, under the same names.

    Args:
        results: what ``delay``, ``apply_async`` or ``send_task`` returned, each under a name for people.
        timeout: seconds for all of them together.

    Raises:
        TaskFailed: a task failed.
        NoWorker: no worker answers.
        TookTooLong: a task was not done in time.
        BrokerNotReady: the broker was lost on the way.
    """
    deadline = time.monotonic() + timeout
    with click.progressbar(results.items(), label=f"Waiting for {len(results)} tasks", show_eta=False) as bar:
        return {name: _value(name, result, timeout, deadline) for name, result in bar}


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 10.0) -> None:
    """Wait until ``condition()`` is true.

    Raises:
        TookTooLong: it was not after ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TookTooLong.named(what, timeout, "nothing came")
        time.sleep(PAUSE)


def _value(name: str, result: "AsyncResult[Any]", timeout: float, deadline: float) -> Any:
    try:
        value = _get(result, deadline)
    except ResultTimeout:
        raise TookTooLong.named(name, timeout, result.state) from None
    except (OperationalError, OSError) as exc:
        cure = "It was lost while we waited; what was queued is not: workers go on once it is back."
        raise BrokerNotReady.at(_url(result), exc, cure) from None
    if result.failed():
        raise TaskFailed.named(name, value)
    return value


def _get(result: "AsyncResult[Any]", deadline: float) -> Any:
    try:
        return result.get(timeout=min(DOUBT, _left(deadline)), propagate=False)
    except ResultTimeout:
        if not result.app.control.ping(timeout=ANSWER):
            raise NoWorker.at(_url(result)) from None
    return result.get(timeout=_left(deadline), propagate=False)


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), PAUSE)


def _url(result: "AsyncResult[Any]") -> str:
    return sanitized(result.app.conf.broker_write_url)
