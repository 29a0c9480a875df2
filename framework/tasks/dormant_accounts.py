"""Tasks on accounts without activity for months; to be scheduled on every second Tuesday, say."""

from typing import Any

from framework.celery.celery import celery
from framework.contrib import accounts

# The delays between retries are 4 x 2**n seconds, 17 minutes in all.
RETRY = {"autoretry_for": (OSError,), "retry_backoff": 4, "retry_jitter": False, "max_retries": 8}


@celery.task(**RETRY)
def remind_dormant_accounts(months: int = 6) -> int:
    """Queue a reminder for each account without activity for so many calendar months; return how many.

    Each is a separate task, so that an invalid address stops no other. Accounts that were reminded since their last
    activity are left out. Run twice, or by two workers at once, an account may be queued twice; its mail is sent once.
    Table, columns and template are settings of `framework.contrib.accounts`.

    Raises:
        BadPeriod: ``months`` is no number of months.
        BadEnvironment: a setting cannot be used.
        TableMismatch: the table, or a column, is missing or of another type.
        MissingExtra: SQLAlchemy is not installed.
        OSError: the last retry failed too.
    """
    queued = 0
    for account, key in accounts.to_remind(celery.now(), months):
        remind_account.apply_async((account, months), task_id=key)
        queued += 1
    return queued


@celery.task(**RETRY, ignore_result=True)
def remind_account(account: Any, months: int = 6) -> bool:
    """Mail the owner of one account, unless it was used or reminded meanwhile; return whether a mail was sent.

    Raises:
        BadMail: the account has no valid address; nothing was sent, and it is not retried.
        BadEnvironment: a setting cannot be used; nothing was sent, and it is not retried.
        OSError: the last retry failed too.
    """
    return accounts.remind(account, celery.now(), months, key=remind_account.request.id)


@celery.task(**RETRY)
def delete_dormant_accounts(months: int = 6) -> accounts.Deletion:
    """Delete the accounts without activity for so many calendar months, reminded or not.

    Return how many were ``deleted``, how many the database ``refused`` to delete, since others refer to them, say, and
    the first of its ``errors``.

    Raises:
        BadPeriod: ``months`` is no number of months.
        BadEnvironment: a setting cannot be used.
        TableMismatch: the table, or a column, is missing or of another type.
        DatabaseRefused: the database lets none of its rows be deleted: the user has no right to.
        MissingExtra: SQLAlchemy is not installed.
        OSError: the last retry failed too.
    """
    return accounts.delete_dormant(celery.now(), months)
