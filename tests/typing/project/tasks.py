"""Tasks in every form that the guide shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import shared_task

from framework.celery.celery import celery

if TYPE_CHECKING:
    from celery import Task


@celery.task
def add(x: int, y: int) -> int:
    return x + y


@celery.task()
def greet(name: str, *, loud: bool = False) -> str:
    return name.upper() if loud else name


@celery.task(name="shop.ship", queue="slow", max_retries=3, acks_late=True, track=True)
def ship(order: int, address: str | None = None) -> dict[str, int]:
    return {"order": order, "letters": len(address or "")}


@celery.task(bind=True, max_retries=5, autoretry_for=(OSError,))
def download(self: Task[..., Any], url: str, timeout: float = 5) -> bytes:
    if self.request.retries > 3:
        raise self.retry(countdown=60, exc=TimeoutError(url))
    return url.encode() * int(timeout)


@shared_task
def total(prices: list[float]) -> float:
    return sum(prices)


@shared_task(name="shop.label")
def label(order: int) -> str:
    return f"Order {order}"
