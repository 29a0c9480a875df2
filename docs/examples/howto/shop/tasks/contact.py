from framework.celery.celery import celery
from framework.limits import Limit


@celery.task(limit=Limit("1/10s", key="visitor", address=True))
def contact(visitor: str, text: str) -> None: ...
