"""A task for the schedule, and one that fails."""

from demo import mail_server, shop
from demo.settings import data
from framework.celery.celery import celery
from framework.errors import FrameworkError


class OutOfPaper(FrameworkError):
    """The printer has no paper."""


@celery.task
def count_mails() -> int:
    """Store how many mails were received."""
    count = sum(1 for _ in mail_server.mails())
    shop.store_count(count)
    return count


@celery.task
def print_invoice(number: int) -> str:
    """Print an invoice, if there is paper."""
    if not (data() / "paper").exists():
        raise OutOfPaper(f"Invoice {number} was not printed: the printer has no paper.")
    return f"Invoice {number}, printed."
