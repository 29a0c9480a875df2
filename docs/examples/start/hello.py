from framework.celery.celery import celery


@celery.task
def hello(name):
    return f"Hello, {name}"
