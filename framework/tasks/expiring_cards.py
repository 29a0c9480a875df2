"""Cards that expire soon; every midnight, say."""

from framework.celery.celery import celery
from framework.contrib import cards


@celery.task(autoretry_for=(OSError,), retry_backoff=4, retry_jitter=False, max_retries=8)
def mark_expiring_cards(within_days: int = 30) -> int:
    """Mark the cards that are not good any more in so many days, and no others; return how many were not marked.

    Today is what the setting ``timezone`` makes it. Tries again for 17 minutes while the database does not answer, and
    goes on where it was. Run twice, or by two workers at once, it marks the same cards. Table and columns are settings
    of `framework.contrib.cards`.

    Raises:
        BadPeriod: ``within_days`` is no number of days.
        BadEnvironment: a setting cannot be used.
        TableMismatch: the table, or a column, is missing or of another type.
        DatabaseRefused: the database does not let its rows be changed.
        MissingExtra: SQLAlchemy is not installed.
        OSError: the last try failed too.
    """
    return cards.mark_expiring(celery.now().date(), within_days)
