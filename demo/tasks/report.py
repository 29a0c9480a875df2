"""A report over a year of sales."""

import random
import sqlite3
import time
from contextlib import closing

from framework.celery.celery import celery
from framework.progress import progress

MONTHS, ROWS = 12, 2_000


@celery.task(track=True)
def sales_report(seconds: float = 120) -> dict[str, float]:
    """What was sold in each month, in euros; ``seconds`` is about how long it takes."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE sales (month INTEGER, euros REAL)")
        chance = random.Random(2026)
        for month in progress(range(1, MONTHS + 1), "sales"):
            rows = ((month, round(chance.uniform(1, 500), 2)) for _ in range(ROWS))
            database.executemany("INSERT INTO sales VALUES (?, ?)", rows)
            time.sleep(seconds / MONTHS)
        sums = database.execute("SELECT month, round(sum(euros), 2) FROM sales GROUP BY month")
        return {str(month): euros for month, euros in sums}
