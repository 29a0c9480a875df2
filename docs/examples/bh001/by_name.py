from framework.celery.celery import celery

if __name__ == "__main__":
    celery.send_task("framework.tasks.send_mails.send_mail")  # Without params

    celery.send_task("framework.tasks.send_mails.send_mail", ("From my@my.com"))  # With params
