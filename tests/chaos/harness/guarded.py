"""Tasks with a limit and a lock; the rows of partitions copy them into their project."""

import time

from probe.application import celery
from probe.tasks.chaos import note

from framework.limits import Limit, Unique

#: Calls in a window of so many seconds, for each of two keys, whose counters are on different nodes.
MOST, WINDOW = 10, 5
KEYS = 8


@celery.task(limit=Limit(f"{MOST}/{WINDOW}s", key=lambda given: f"key-{given['number'] % 2}"))
def limited(number):
    note("limited", number)


@celery.task(bind=True, unique=Unique(key=lambda given: f"key-{given['number'] % KEYS}"))
def only_one(self, number):
    began = time.time()
    time.sleep(0.1)
    note("unique", number % KEYS, self.request.id, began, time.time())
