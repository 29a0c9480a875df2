"""Makes a task's effect happen once, though the task may run twice: its id is committed in the same transaction.

A worker that is killed after its task's effect and before the acknowledgement leaves a task that is run again. If the
effect is rows in a database, another row in the same transaction shows the second run that the first was committed::

    @celery.task(bind=True)
    def book(self, order, amount):
        with engine.begin() as connection:
            if once(connection, self.request.id):
                connection.execute(insert(bookings).values(order=order, amount=amount))

Effect and key are committed together, or neither is: after a crash before the commit, the next run does the work. An
effect outside that database (a mail, a call of another service) still happens at least once.
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
# PostgreSQL lets two transactions create one table, and then fails the second: a lock serializes them.
_MAKE_ALONE = {"sqlite": [_MAKE], "postgresql": ["select pg_advisory_xact_lock(4738501)", _MAKE]}
_TAKE = "insert into framework_once (key, at) values (?, ?) on conflict do nothing"
_FORGET = "delete from framework_once where at < ?"

#: Characters that a key may have.
KEY_LENGTH = 255

#: Statement and values in, cursor out.
Execute = Callable[[str, Sequence[Any]], Any]


def once(connection: Any, key: str) -> bool:
    """Return whether ``key`` is new, and insert it; the connection's transaction commits it.

    Wait for another transaction that has inserted the same key: if it is rolled back, the key is new here (SQLite
    waits for a writer as long as the connection's ``timeout``). Create the table ``framework_once`` if it is missing.

    Args:
        connection: with a transaction, or one that begins one implicitly: of ``sqlite3`` or ``psycopg``, or
            SQLAlchemy's ``Connection`` or ``Session`` on one of these databases.
        key: the identity of the effect, such as the task's id; 255 characters at most.

    Raises:
        NotATransaction: the connection is in autocommit mode, or its database is not supported.
        ValueError: the key is empty or too long.
    """
    if not isinstance(key, str) or not 0 < len(key) <= KEY_LENGTH:
        raise ValueError(f"A key is a text of 1 to {KEY_LENGTH} characters, not {key!r:.80}.")
    database, execute = _opened(connection)
    if not execute(_EXISTS[database], ()).fetchall():
        for statement in _MAKE_ALONE[database]:
            execute(statement, ())
    return bool(execute(_TAKE, (key, time.time())).rowcount == 1)


def forget(connection: Any, older_than: float) -> int:
    """Delete the keys inserted more than ``older_than`` seconds ago, in the connection's transaction; return how many.

    A task that is redelivered later than that repeats its effect: a month is more than any queue keeps a task.

    Raises:
        NotATransaction: the connection is in autocommit mode, or its database is not supported.
    """
    database, execute = _opened(connection)
    if not execute(_EXISTS[database], ()).fetchall():
        return 0
    return int(execute(_FORGET, (time.time() - older_than,)).rowcount)


def _opened(connection: Any) -> tuple[str, Execute]:
    """Return the database's name, and a function that executes statements in the connection's transaction."""
    inner = _of_sqlalchemy(connection)
    if inner is not None:
        inner.exec_driver_sql("select 1").close()  # begins the transaction, with SQLAlchemy's events
        driver = inner.connection.driver_connection
        database, mark = _known(driver)
        return database, lambda sql, values: inner.exec_driver_sql(sql.replace("?", mark), tuple(values))
    database, mark = _known(connection)
    return database, lambda sql, values: _on_cursor(connection, sql.replace("?", mark), values)


def _of_sqlalchemy(connection: Any) -> Any | None:
    """Return the connection of SQLAlchemy's connection or session; None for other connections."""
    if not _is_from(connection, "sqlalchemy"):
        return None
    return connection.connection() if callable(getattr(connection, "connection", None)) else connection


def _known(connection: Any) -> tuple[str, str]:
    """Return the database of a driver's connection, and its placeholder for a value."""
    if _is_from(connection, "sqlite3"):
        if not connection.in_transaction and _is_autocommit(connection):
            raise NotATransaction.here("begin one: connection.execute('begin')")
        return "sqlite", "?"
    if _is_from(connection, "psycopg") or _is_from(connection, "psycopg2"):
        if connection.autocommit and connection.info.transaction_status == 0:
            raise NotATransaction.here("begin one: with connection.transaction()")
        return "postgresql", "%s"
    raise NotATransaction.of(type(connection))


def _is_autocommit(connection: Any) -> bool:
    """Return whether a connection of sqlite3 is in autocommit mode, the old one or that of Python 3.12."""
    return connection.isolation_level is None or getattr(connection, "autocommit", -1) is True


def _is_from(connection: Any, package: str) -> bool:
    return any(base.__module__.partition(".")[0] == package for base in type(connection).__mro__)


def _on_cursor(connection: Any, sql: str, values: Sequence[Any]) -> Any:
    cursor = connection.cursor()
    cursor.execute(sql, tuple(values))
    return cursor
