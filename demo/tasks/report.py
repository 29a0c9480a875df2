"""A report over a year of sales."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from tempfile import NamedTemporaryFile

from framework.celery.celery import celery
from framework.progress import progress

BATCH = 1_000


@celery.task(track=True)
def sales_report(count: int = 10_000_000) -> dict[str, float]:
    """What was sold in each month, in euros, of ``count`` sales that it makes up first."""
    with NamedTemporaryFile(suffix=".db") as file, closing(sqlite3.connect(file.name)) as database:
        database.execute("CREATE TABLE sales (month INTEGER, euros REAL)")
        sales = _sales(count)
        for _ in progress(range(0, count, BATCH), "sales"):
            database.executemany("INSERT INTO sales VALUES (?, ?)", islice(sales, BATCH))
        sums = database.execute("SELECT month, round(sum(euros), 2) FROM sales GROUP BY month")
        return {str(month): euros for month, euros in sums}


def _sales(count: int) -> Iterator[tuple[int, float]]:
    chance = random.Random(2026)
    for _ in range(count):
        yield chance.randint(1, 12), round(chance.uniform(1, 500), 2)
