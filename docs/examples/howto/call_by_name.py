from framework.celery.celery import celery

celery.send_task("framework.tasks.send_mails.send_mail", ("ann@example.org",), {"text": "Hello"})
