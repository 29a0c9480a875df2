from framework.celery.celery import celery


@celery.task
def send_issue(number):
    return f"Issue {number} is on its way."
