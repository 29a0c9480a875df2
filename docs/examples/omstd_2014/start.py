from framework.celery.celery import celery
from framework.tasks.check_links import check_links

if __name__ == "__main__":
    check_links.delay(["http://example.org", "https://example.org"])

    celery.send_task("framework.tasks.send_mails.send_mail", ("From my@my.com"))

    print(check_links.apply_async((["http://example.com"],)).get())
