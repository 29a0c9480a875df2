"""Waiting for a file that another connection has locked."""

import sqlite3

import pytest

from framework.broker.deadline import Deadline
from framework.broker.sqlite.database import retry_while_busy


@pytest.fixture
def locked(tmp_path):
    """A connection that locks a file, and another one that fails at once where it cannot write."""
    path = tmp_path / "any.db"
    holder, other = (sqlite3.connect(path, isolation_level=None, timeout=0, check_same_thread=False) for _ in range(2))
    holder.execute("create table any_table (number)")
    holder.execute("begin immediate")
    yield holder, other
    holder.close()
    other.close()


def test_a_locked_file_is_written_once_it_is_unlocked(locked):
    holder, other = locked
    attempts = []

    def write():
        attempts.append(1)
        if len(attempts) == 3:
            holder.rollback()
        return other.execute("insert into any_table values (1)").rowcount

    assert retry_while_busy(write) == 1
    assert len(attempts) == 3


def test_a_file_that_stays_locked_raises_once_the_time_is_over(locked):
    _, other = locked
    attempts = []

    def write():
        attempts.append(1)
        other.execute("insert into any_table values (1)")

    with Deadline.within(0.2), pytest.raises(sqlite3.OperationalError, match="locked"):
        retry_while_busy(write)

    assert len(attempts) > 1


def test_another_error_is_raised_at_once(locked):
    _, other = locked
    attempts = []

    def read():
        attempts.append(1)
        other.execute("select * from no_such_table")

    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        retry_while_busy(read)

    assert len(attempts) == 1
