"""A task that mails the messages of the site's contact form."""

from framework.celery.celery import celery
from framework.contrib import mail


# The delays are 4 x 2**n seconds; as options of the decorator, since Celery shares one retry_kwargs among all calls.
@celery.task(autoretry_for=(OSError,), retry_backoff=4, retry_jitter=False, max_retries=5)
def send_mail(sender: str | None = None, subject: str = "Contact", text: str = "") -> str:
    """Mail a visitor's message to the site's owner; return its Message-ID.

    The task is retried after 4, 8, 16, 32 and 64 seconds. Every attempt has the same Message-ID, so that a mail server
    can recognise a mail that came twice. The settings are in `framework.contrib.mail`.

    Raises:
        BadMail: an address, subject or text is refused; nothing was sent, and it is not retried.
        BadEnvironment: a setting cannot be used; nothing was sent, and it is not retried.
        OSError: the last retry failed too.
    """
    return mail.send(sender, subject, text, key=send_mail.request.id)
