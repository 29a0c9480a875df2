"""Accounts without activity for months: their owners are reminded, or they are deleted.

=====================  ===========================================================================  ============
variable               what it is                                                                   default
=====================  ===========================================================================  ============
``DATABASE_URL``       the database, see `framework.contrib.database`                               none
``ACCOUNTS_TABLE``     the table of accounts                                                        ``accounts``
``ACCOUNTS_COLUMNS``   its columns, where they have other names: ``id=number email=address``        as below
``ACCOUNTS_TEMPLATE``  the reminder, a ``string.Template``: ``Subject:``, an empty line, the text   one of ours
=====================  ===========================================================================  ============

The columns: ``id``, unique; ``email``, one address; ``last_active_at`` and ``reminded_at``, times in UTC. An account
whose ``last_active_at`` is null is left alone. The template's ``$address`` is the account's, ``$since`` the day of its
last activity. How mail is sent: `framework.contrib.mail`.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from email.headerregistry import Address
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any, TypedDict

from framework.contrib import env, mail
from framework.contrib.database import ConfiguredTable, concerns_rows
from framework.contrib.mail_address import SUBJECT_LIMIT, address, many_lines, one_line
from framework.contrib.months import check_period, months_before
from framework.errors import BadEnvironment, BadMail, DatabaseRefused

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

__all__ = ["Deletion", "delete_dormant", "remind", "to_remind"]


COLUMNS = {"id": (), "email": (), "last_active_at": ("DateTime",), "reminded_at": ("DateTime",)}
COLUMNS_TO_DELETE = {"id": (), "last_active_at": ("DateTime",)}
#: The longest time without activity, in months.
MOST_MONTHS = 1200
#: Accounts whose error is in the result.
MOST_ERRORS = 20


class Deletion(TypedDict):
    """How many accounts were deleted, how many the database refused to delete, and why: the first 20 of them."""

    deleted: int
    refused: int
    errors: list[str]


def delete_dormant(now: datetime, months: int = 6) -> Deletion:
    """Delete the accounts without activity for ``months`` calendar months, reminded or not.

    Each batch of some hundreds has its own transaction; where the database refuses one, because other rows refer to an
    account, say, each of its accounts has its own. An account that is used meanwhile stays.

    Args:
        now: with the time zone whose calendar counts.
        months: at least 1.

    Raises:
        BadPeriod: ``months`` is no number of months.
        BadEnvironment: a setting cannot be used.
        TableMismatch: the table, or a column, is missing or of another type.
        DatabaseUnreachable: the database does not answer; what was deleted stays so, and a retry deletes the rest.
        DatabaseRefused: the database lets none of its rows be deleted: the user has no right to.
        MissingExtra: SQLAlchemy is not installed.
    """
    accounts = ConfiguredTable.named("ACCOUNTS", "accounts", COLUMNS_TO_DELETE)
    dormant = _dormant(accounts, now, months)
    done = Deletion(deleted=0, refused=0, errors=[])
    for page in accounts.pages(dormant):
        _delete(accounts, dormant, [row[0] for row in page], done)
    return done


def _delete(accounts: ConfiguredTable, dormant: "ColumnElement[bool]", ids: list[Any], done: Deletion) -> None:
    """Delete accounts that are still dormant, in one transaction, or one by one where the database refuses that."""
    try:
        done["deleted"] += accounts.change(accounts.table.delete().where(dormant & accounts["id"].in_(ids)))
    except DatabaseRefused as refusal:
        if not concerns_rows(refusal):
            raise
        if len(ids) > 1:
            for account in ids:
                _delete(accounts, dormant, [account], done)
            return
        done["refused"] += 1
        if len(done["errors"]) < MOST_ERRORS:
            done["errors"].append(f"account {ids[0]}: {refusal.message}")


def to_remind(now: datetime, months: int = 6) -> Iterator[tuple[Any, str]]:
    """Yield the accounts to remind, each as its id and a key, which changes once the account is used.

    Raises:
        BadPeriod: ``months`` is no number of months.
        BadEnvironment: a setting cannot be used.
        TableMismatch: the table, or a column, is missing or of another type.
        DatabaseUnreachable: the database does not answer.
        DatabaseRefused: the database does not let its rows be read.
        MissingExtra: SQLAlchemy is not installed.
    """
    accounts = ConfiguredTable.named("ACCOUNTS", "accounts", COLUMNS)
    for page in accounts.pages(_unreminded(accounts, now, months), "last_active_at"):
        for row in page:
            yield row[0], f"remind-{row[0]}-{_in_utc(row[1]):%Y%m%dT%H%M%S}"


def remind(account: Any, now: datetime, months: int = 6, *, key: str | None = None) -> bool:
    """Mail one account's owner, unless that was done since the account was last used; return whether a mail was sent.

    The row is changed first, and committed once the mail server has the mail: of two calls at once, the second waits
    for the first and sends nothing. Only a crash between that answer and the commit lets the mail be sent again; the
    ``key`` gives both the same Message-ID. (SQLite has no other writer in the meantime.)

    Args:
        account: its id.
        now: with the time zone whose calendar counts.
        months: at least 1.
        key: see `framework.contrib.mail.send`.

    Raises:
        BadPeriod: ``months`` is no number of months.
        BadMail: the account has no valid address; nothing was sent.
        OSError: the mail server or the database does not answer; the account counts as not reminded.
        BadEnvironment, TableMismatch, DatabaseRefused, MissingExtra: as with `to_remind`.
    """
    accounts = ConfiguredTable.named("ACCOUNTS", "accounts", COLUMNS)
    is_it = accounts["id"] == account
    due = is_it & _unreminded(accounts, now, months)
    reminded = {accounts["reminded_at"]: accounts.as_stored("reminded_at", datetime.now(UTC))}
    with accounts.transaction() as connection:
        if connection.execute(accounts.table.update().where(due).values(reminded)).rowcount != 1:
            return False
        query = accounts.table.select().where(is_it).with_only_columns(accounts["email"], accounts["last_active_at"])
        email, since = connection.execute(query).one()
        _mail(_recipient(account, email), _in_utc(since).astimezone(now.tzinfo), key)
    return True


def _dormant(accounts: ConfiguredTable, now: datetime, months: int) -> "ColumnElement[bool]":
    check_period("months", months, least=1, most=MOST_MONTHS)
    return accounts["last_active_at"] <= accounts.as_stored("last_active_at", months_before(now, months))


def _unreminded(accounts: ConfiguredTable, now: datetime, months: int) -> "ColumnElement[bool]":
    reminded, active = accounts["reminded_at"], accounts["last_active_at"]
    return _dormant(accounts, now, months) & (reminded.is_(None) | (reminded < active))


def _in_utc(stored: datetime) -> datetime:
    return stored.astimezone(UTC) if stored.tzinfo else stored.replace(tzinfo=UTC)


def _recipient(account: Any, email: object) -> Address:
    try:
        return address(str(email))
    except ValueError as exc:
        raise BadMail.of("recipient", f"(account {account}) is no address", "Correct it in the table.") from exc


def _mail(recipient: Address, since: datetime, key: str | None) -> None:
    settings = mail.MailSettings.from_environment()
    subject, text = _reminder(address=recipient.addr_spec, since=f"{since:%Y-%m-%d}")
    mail.deliver(mail.build_message(settings, recipient, subject, text, key=key), settings)


def _reminder(**parts: str) -> tuple[str, str]:
    """Return subject and text, with the parts filled in."""
    path = env.file("ACCOUNTS_TEMPLATE") or files("framework.contrib") / "templates" / "dormant.txt"
    try:
        subject, text = Template(path.read_text(encoding="utf-8")).substitute(parts).split("\n\n", 1)
        return one_line("subject", _after("Subject:", subject), SUBJECT_LIMIT), many_lines(text)
    except (OSError, KeyError, ValueError) as exc:
        wanted = (
            "a UTF-8 text: Subject: and one line, an empty line, the text with $address and $since, $$ for a dollar"
        )
        raise BadEnvironment.of("ACCOUNTS_TEMPLATE", str(path), f"{wanted} ({exc!r})") from exc


def _after(word: str, line: str) -> str:
    if not line.startswith(word):
        raise ValueError(f"it does not begin with {word}")
    return line.removeprefix(word).strip()
