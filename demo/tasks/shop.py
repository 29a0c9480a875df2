"""A task that is seen to run on the schedule, and one that fails."""

from demo import postbox, shop
from demo.settings import data
from framework.celery.celery import celery
from framework.errors import FrameworkError


class OutOfPaper(FrameworkError):
    """The printer has no paper."""


@celery.task
def count_mails() -> int:
    """Write down how many mails have come in."""
    count = sum(1 for _ in postbox.mails())
    shop.note_count(count)
    return count


@celery.task
def print_invoice(number: int) -> str:
    """Print an invoice, where there is paper."""
    if not (data() / "paper").exists():
        raise OutOfPaper(f"Invoice {number} was not printed: the printer has no paper.")
    return f"Invoice {number}, printed."
