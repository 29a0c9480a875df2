from framework.celery.celery import celery
from framework.limits import Limit


@celery.task(track=True, limit=Limit("1/10s", key="customer"))
def confirm(customer: str) -> str:
    """Confirm a customer's order."""
    return f"Thank you, {customer}"
