"""An effect that happens once, though its task may run twice: the task's id is written beside it, in one transaction.

A worker that is killed after its task's effect and before the acknowledgement leaves a task that is run again. Where
the effect is rows in a database, a row more in the same transaction tells the second run that the first got through::

    @celery.task(bind=True)
    def book(self, order, amount):
        with engine.begin() as connection:
            if once(connection, self.request.id):
                connection.execute(insert(bookings).values(order=order, amount=amount))

What this promises: effect and key are committed together, or neither is. A crash before the commit undoes both, and
the next run does the work. What it does not: an effect outside that database (a mail, a call of another service)
happens at least once, as everything a task does.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from framework.errors import NotATransaction

__all__ = ["forget", "once"]


_EXISTS = {
    "sqlite": "select 1 from sqlite_master where type = 'table' and name = 'framework_once'",
    "postgresql": "select 1 where to_regclass('framework_once') is not null",
}
_MAKE = "create table if not exists framework_once (key varchar(255) primary key, at double precision not null)"
# PostgreSQL lets two transactions make one table, and then fails the second: they take turns.
_MAKE_ALONE = {"sqlite": [_MAKE], "postgresql": ["select pg_advisory_xact_lock(4738501)", _MAKE]}
_TAKE = "insert into framework_once (key, at) values (?, ?) on conflict do nothing"
_FORGET = "delete from framework_once where at < ?"

#: Characters that a key may have.
LONGEST = 255

#: Statement and values in, cursor out.
Execute = Callable[[str, Sequence[Any]], Any]


def once(connection: Any, key: str) -> bool:
    """Whether ``key`` is new; it is taken when the connection's transaction is committed, and only then.

    Another transaction that holds the same key is waited for: if it is rolled back, the key is new here (on SQLite, a
    writer is waited for as long as its ``timeout`` says). The table ``framework_once`` is made where it is missing.

    Args:
        connection: with a transaction, or one that begins one by itself: of ``sqlite3`` or ``psycopg``, or SQLAlchemy's
            ``Connection`` or ``Session`` on one of these databases.
        key: what the effect is known by, such as the task's id; 255 characters at most.

    Raises:
        NotATransaction: the connection commits each statement by itself, or its database is not known here.
        ValueError: the key is empty or too long.
    """
    if not isinstance(key, str) or not 0 < len(key) <= LONGEST:
        raise ValueError(f"A key is a text of 1 to {LONGEST} characters, not {key!r:.80}.")
    database, execute = _opened(connection)
    if not execute(_EXISTS[database], ()).fetchall():
        for statement in _MAKE_ALONE[database]:
            execute(statement, ())
    return bool(execute(_TAKE, (key, time.time())).rowcount == 1)


def forget(connection: Any, older_than: float) -> int:
    """Delete the keys that were taken more than ``older_than`` seconds ago, in the connection's transaction; how many.

    A task that comes back later than that does its effect again: a month is more than any queue keeps it.

    Raises:
        NotATransaction: the connection commits each statement by itself, or its database is not known here.
    """
    database, execute = _opened(connection)
    if not execute(_EXISTS[database], ()).fetchall():
        return 0
    return int(execute(_FORGET, (time.time() - older_than,)).rowcount)


def _opened(connection: Any) -> tuple[str, Execute]:
    """Which database it is, and how statements are executed in the transaction of the connection."""
    inner = _of_sqlalchemy(connection)
    if inner is not None:
        inner.exec_driver_sql("select 1").close()  # begins the transaction, whatever events that takes
        driver = inner.connection.driver_connection
        database, mark = _known(driver)
        return database, lambda sql, values: inner.exec_driver_sql(sql.replace("?", mark), tuple(values))
    database, mark = _known(connection)
    return database, lambda sql, values: _on_cursor(connection, sql.replace("?", mark), values)


def _of_sqlalchemy(connection: Any) -> Any | None:
    """SQLAlchemy's connection, where it is that, or a session that has one."""
    if not _is_from(connection, "sqlalchemy"):
        return None
    return connection.connection() if callable(getattr(connection, "connection", None)) else connection


def _known(connection: Any) -> tuple[str, str]:
    """The database of a driver's connection, and its mark for a value."""
    if _is_from(connection, "sqlite3"):
        if not connection.in_transaction and _commits_by_itself(connection):
            raise NotATransaction.here("begin one: connection.execute('begin')")
        return "sqlite", "?"
    if _is_from(connection, "psycopg") or _is_from(connection, "psycopg2"):
        if connection.autocommit and connection.info.transaction_status == 0:
            raise NotATransaction.here("begin one: with connection.transaction()")
        return "postgresql", "%s"
    raise NotATransaction.of(type(connection))


def _commits_by_itself(connection: Any) -> bool:
    """Whether a connection of sqlite3 is in one of its two modes, of old and of Python 3.12, that begin nothing."""
    return connection.isolation_level is None or getattr(connection, "autocommit", -1) is True


def _is_from(connection: Any, package: str) -> bool:
    return any(base.__module__.partition(".")[0] == package for base in type(connection).__mro__)


def _on_cursor(connection: Any, sql: str, values: Sequence[Any]) -> Any:
    cursor = connection.cursor()
    cursor.execute(sql, tuple(values))
    return cursor
