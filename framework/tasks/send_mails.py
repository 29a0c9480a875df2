"""Mail from the site's contact form."""

from framework.celery.celery import celery
from framework.contrib import mail


# The waits are 4 x 2**n; as options of the decorator, since Celery shares one retry_kwargs among all calls.
@celery.task(autoretry_for=(OSError,), retry_backoff=4, retry_jitter=False, max_retries=5)
def send_mail(sender: str | None = None, subject: str = "Contact", text: str = "") -> str:
    """Mail a visitor's message to the site's owner; return its Message-ID.

    Tries again after 4, 8, 16, 32 and 64 seconds. Every try has the same Message-ID, so that a mail server can tell a
    mail that came twice. The settings are in `framework.contrib.mail`.

    Raises:
        BadMail: an address, subject or text is refused; nothing was sent, and it is not tried again.
        BadEnvironment: a setting cannot be used; nothing was sent, and it is not tried again.
        OSError: the last try failed too.
    """
    return mail.send(sender, subject, text, key=send_mail.request.id)
