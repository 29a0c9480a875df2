import time

from framework.celery.celery import celery
from framework.progress import progress


@celery.task
def report(rows: int) -> dict[str, int]:
    """Something that takes a while."""
    for _ in progress(range(rows), "Writing the report"):
        time.sleep(0.05)
    return {"rows": rows}
