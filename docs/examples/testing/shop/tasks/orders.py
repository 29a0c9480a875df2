from decimal import Decimal

from framework.celery.celery import celery
from framework.limits import Limit
from framework.tasks.send_mails import send_mail


def total(prices: list[str]) -> Decimal:
    """What an order costs."""
    return sum(map(Decimal, prices), Decimal())


@celery.task(limit=Limit("1/10s", key="customer"))
def confirm(customer: str, prices: list[str]) -> str:
    """Mail a customer what the order costs."""
    amount = str(total(prices))
    send_mail.delay(subject=f"Order of {customer}", text=f"It costs {amount}.")
    return amount


@celery.task
def ship(order: int) -> None:
    """Hand an order to the carrier, which takes no order without a number."""
    if order <= 0:
        raise ValueError(f"There is no order {order}.")
