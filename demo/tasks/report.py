"""A report that takes two minutes."""

import sqlite3
from contextlib import closing

from demo import sales
from demo.mail_server import folder
from demo.settings import data
from demo.texts import TEXTS
from framework.celery.celery import celery
from framework.limits import Unique
from framework.progress import progress


@celery.task(bind=True, track=True, unique=Unique(key="visitor"))
def sales_report(self, visitor: str, rows: int, rounds: int, lang: str = "en") -> int:  # noqa: ARG001
    """Add up ``rows`` sales, with the confidence interval of each mean; return how many lines the report has.

    A second run, after a crash, writes the same file.
    """
    words = TEXTS[lang]
    with closing(sqlite3.connect(sales.create(data(), rows))) as database:
        report = []
        for month, region in progress(sales.groups(database), words["step_report"]):
            euros = sales.amounts(database, month, region)
            samples = progress(range(rounds), words["step_group"].format(month=month, region=region))
            report.append(sales.row(month, region, euros, samples))
    sales.write(folder("reports") / f"{self.request.id}.csv", report)
    return len(report)
