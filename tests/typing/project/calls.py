"""Calls of those tasks, and what they return."""

from datetime import UTC, datetime, timedelta

from celery import chain, group
from celery.result import AsyncResult

from framework.celery.celery import celery
from project.tasks import add, download, greet, label, ship, total


def call() -> AsyncResult[int]:
    return add.delay(1, y=2)


def call_with_options() -> AsyncResult[dict[str, int]]:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    ship.apply_async((1,), {"address": "Main Street"}, countdown=5, queue="slow", priority=3)
    return ship.apply_async(args=(1,), eta=tomorrow, expires=3600, task_id="order-1")


def results() -> tuple[int, str, dict[str, int], bytes, float]:
    count: int = add.delay(1, 2).get(timeout=10)
    name: str = greet.delay("Ann", loud=True).get()
    shipped: dict[str, int] = ship.delay(7).get(timeout=10, propagate=False)
    page: bytes = download.delay("https://example.org", timeout=10).get()
    price: float = total.delay([1.5, 2.5]).get()
    return count, name, shipped, page, price


def direct() -> int:
    return add(1, 2) + len(label(3))


def by_name() -> str:
    result = celery.send_task("shop.tasks.greet", ("Ann",), {"loud": True}, countdown=3, queue="slow")
    return result.id


def look_up(task_id: str) -> bool:
    return add.AsyncResult(task_id).ready()


def canvas() -> None:
    chain(add.s(1, 2), add.s(3)).delay()
    group(add.si(1, 2), add.signature((3, 4), countdown=1))()
