from framework.celery.celery import celery
from framework.progress import progress


@celery.task(track=True)
def report(rows: list[dict]) -> int:
    total = 0
    for row in progress(rows, "reading"):
        total += row["amount"]
    return total
