"""Accounts that nobody has used for months; on every second Tuesday, say."""

from typing import Any

from framework.celery.celery import celery
from framework.contrib import accounts

# The waits are 4 x 2**n seconds, 17 minutes in all.
PATIENTLY = {"autoretry_for": (OSError,), "retry_backoff": 4, "retry_jitter": False, "max_retries": 8}


@celery.task(**PATIENTLY)
def remind_dormant_accounts(months: int = 6) -> int:
    """Queue a reminder for each account without activity for so many calendar months; return how many.

    Each is a task of its own, so that one address that is wrong stops no other. Whoever was reminded since the last
    activity is left out. Run twice, or by two workers at once, an account may be queued twice; its mail is sent once.
    Table, columns and template are settings of `framework.contrib.accounts`.

    Raises:
        BadPeriod: ``months`` is no number of months.
        BadEnvironment: a setting cannot be used.
        TableMismatch: the table, or a column, is missing or of another type.
        MissingExtra: SQLAlchemy is not installed.
        OSError: the last try failed too.
    """
    queued = 0
    for account, key in accounts.to_remind(celery.now(), months):
        remind_account.apply_async((account, months), task_id=key)
        queued += 1
    return queued


@celery.task(**PATIENTLY, ignore_result=True)
def remind_account(account: Any, months: int = 6) -> bool:
    """Mail the owner of one account, unless it was used or its owner reminded meanwhile; whether a mail was sent.

    Raises:
        BadMail: the account's address is none; nothing was sent, and it is not tried again.
        BadEnvironment: a setting cannot be used; nothing was sent, and it is not tried again.
        OSError: the last try failed too.
    """
    return accounts.remind(account, celery.now(), months, key=remind_account.request.id)


@celery.task(**PATIENTLY)
def delete_dormant_accounts(months: int = 6) -> int:
    """Delete the accounts without activity for so many calendar months, reminded or not; return how many.

    Raises:
        BadPeriod: ``months`` is no number of months.
        BadEnvironment: a setting cannot be used.
        TableMismatch: the table, or a column, is missing or of another type.
        DatabaseRefused: the database does not let its rows be deleted: others refer to them, say.
        MissingExtra: SQLAlchemy is not installed.
        OSError: the last try failed too.
    """
    return accounts.delete_dormant(celery.now(), months)
