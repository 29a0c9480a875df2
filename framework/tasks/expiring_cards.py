"""A task on cards that expire soon; to be scheduled every midnight, say."""

from framework.celery.celery import celery
from framework.contrib import cards


@celery.task(autoretry_for=(OSError,), retry_backoff=4, retry_jitter=False, max_retries=8)
def mark_expiring_cards(within_days: int = 30) -> int:
    """Mark the cards that expire within so many days, and no others; return how many were not marked before.

    Today is the date in the zone of the setting ``timezone``. While the database does not answer, the task is retried
    for 17 minutes, and marks the rest. Run twice, or by two workers at once, it marks the same cards. Table and columns
    are settings of `framework.contrib.cards`.

    Raises:
        BadPeriod: ``within_days`` is no number of days.
        BadEnvironment: a setting cannot be used.
        TableMismatch: the table, or a column, is missing or of another type.
        DatabaseRefused: the database does not let its rows be changed.
        MissingExtra: SQLAlchemy is not installed.
        OSError: the last retry failed too.
    """
    return cards.mark_expiring(celery.now().date(), within_days)
