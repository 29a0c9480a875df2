"""The shop's database: cards and accounts for the nightly tasks, and the counts of mails."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

from demo.settings import data

TABLES = """
CREATE TABLE IF NOT EXISTS cards (
    id INTEGER PRIMARY KEY, exp_month INTEGER, exp_year INTEGER, is_expiring BOOLEAN DEFAULT 0);
CREATE TABLE IF NOT EXISTS accounts (
    id INTEGER PRIMARY KEY, email TEXT, last_active_at DATETIME, reminded_at DATETIME);
CREATE TABLE IF NOT EXISTS counts (at DATETIME, mails INTEGER);
"""
CARDS, ACCOUNTS, LATEST_COUNTS = 12, 6, 5


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """Open the database, with its tables, in one transaction."""
    with closing(sqlite3.connect(data() / "shop.db", timeout=30)) as connection, connection:
        connection.executescript(TABLES)
        yield connection


def fill() -> None:
    """Insert cards and accounts, unless they exist."""
    with database() as shop:
        now = datetime.now(UTC).replace(tzinfo=None)
        months = [(now.month - 1 + ahead) for ahead in range(CARDS)]
        cards = [(number, month % 12 + 1, now.year + month // 12) for number, month in enumerate(months, 1)]
        shop.executemany("INSERT OR IGNORE INTO cards (id, exp_month, exp_year) VALUES (?, ?, ?)", cards)
        accounts = [
            (number, f"customer{number}@example.org", (now - timedelta(days=60 * number)).isoformat(" "))
            for number in range(1, ACCOUNTS + 1)
        ]
        shop.executemany("INSERT OR IGNORE INTO accounts (id, email, last_active_at) VALUES (?, ?, ?)", accounts)


def store_count(mails: int) -> None:
    """Store how many mails there are now."""
    with database() as shop:
        shop.execute("INSERT INTO counts VALUES (?, ?)", (datetime.now(UTC).isoformat(), mails))


def results() -> dict[str, object]:
    """Return the results of the scheduled tasks."""
    with database() as shop:
        [expiring] = shop.execute("SELECT count(*) FROM cards WHERE is_expiring").fetchone()
        [reminded] = shop.execute("SELECT count(*) FROM accounts WHERE reminded_at IS NOT NULL").fetchone()
        counts = shop.execute("SELECT at, mails FROM counts ORDER BY at DESC LIMIT ?", (LATEST_COUNTS,)).fetchall()
    return {
        "cards": expiring,
        "accounts": reminded,
        "counts": [(datetime.fromisoformat(at), mails) for at, mails in counts],
    }
