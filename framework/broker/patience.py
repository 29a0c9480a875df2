"""Waiting for one's turn at a file that many processes write."""

import sqlite3
import time
from collections.abc import Callable
from random import uniform
from typing import TypeVar

__all__ = ["PATIENCE", "patiently"]

T = TypeVar("T")

#: Seconds that an operation waits for others to finish theirs before it gives up.
PATIENCE = 30.0

_IN_THE_WAY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def patiently(attempt: Callable[[], T]) -> T:
    """Try until no other process is in the way, at most ``PATIENCE`` seconds.

    SQLite's own waiting sleeps longer and longer, so that the oldest waiter is served last; these sleeps stay short and
    random.
    """
    deadline = time.monotonic() + PATIENCE
    longest = 0.0005
    while True:
        try:
            return attempt()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _IN_THE_WAY or time.monotonic() > deadline:
                raise
        time.sleep(uniform(0, longest))
        longest = min(longest * 2, 0.008)
