from framework.celery.celery import celery
from framework.limits import Unique


@celery.task(unique=Unique(key="report"))
def build(report: int, colour: str = "red") -> str: ...
