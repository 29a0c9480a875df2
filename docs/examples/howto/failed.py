from framework.celery.celery import celery
from framework.failures import ALL, Failures

failures = Failures(celery)
for task in failures.page(limit=20, reason="timeout"):
    print(task.id, task.task, task.error)
failures.retry(ALL, reason="timeout")
