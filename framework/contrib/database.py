"""Your own tables, in any database that SQLAlchemy knows: read page by page, changed in short transactions.

================  ===============================================================  =======
variable          what it is                                                       default
================  ===============================================================  =======
``DATABASE_URL``  SQLAlchemy's URL, such as ``postgresql+psycopg://me@host/shop``  none
================  ===============================================================  =======

A table is used as it is; nothing is created. Times are stored in UTC, with the time zone where the column has one.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

from framework.contrib import env
from framework.errors import BadEnvironment, DatabaseRefused, DatabaseUnreachable, MissingExtra, TableMismatch

if TYPE_CHECKING:
    from sqlalchemy import URL, Column, ColumnElement, Connection, Engine, Table

__all__ = ["ConfiguredTable", "concerns_rows"]


#: Rows that are read, or changed in one transaction, at a time.
PAGE_ROWS = 500
#: Seconds that SQLite waits for another writer.
SQLITE_TIMEOUT_SECONDS = 30

EXAMPLES = "SQLAlchemy's URL of a database: sqlite:///shop.db, postgresql+psycopg://user:password@host/shop"


@dataclass(frozen=True)
class ConfiguredTable:
    """A table of the project, its columns under the names that the bundled tasks use."""

    engine: "Engine"
    table: "Table"
    columns: "Mapping[str, Column[Any]]"

    @classmethod
    def named(cls, variable: str, table: str, columns: Mapping[str, tuple[str, ...]]) -> Self:
        """Return the table that ``{variable}_TABLE`` names, its columns renamed as ``{variable}_COLUMNS`` says.

        Args:
            variable: how the names of both environment variables begin.
            table: the table's name where the variable says none; ``schema.table`` is understood.
            columns: our name of each column, and the classes of SQLAlchemy's types that it may have (any if empty).

        Raises:
            BadEnvironment: a variable cannot be used.
            TableMismatch: the table, or a column, is missing or of another type.
            DatabaseUnreachable: the database does not answer; a retry may help.
            MissingExtra: SQLAlchemy is not installed.
        """
        url = env.text("DATABASE_URL")
        name = env.text(f"{variable}_TABLE", table)
        renamed = _renamed(f"{variable}_COLUMNS", columns)
        return cls(*_reflected(url, os.getpid(), name, tuple((renamed[each], each, columns[each]) for each in columns)))

    def __getitem__(self, column: str) -> "Column[Any]":
        return self.columns[column]

    def as_stored(self, column: str, time: datetime) -> datetime:
        """Return ``time`` as ``column`` stores it: in UTC, without the time zone where the column has none."""
        utc = time.astimezone(UTC)
        return utc if getattr(self[column].type, "timezone", False) else utc.replace(tzinfo=None)

    def pages(self, where: "ColumnElement[bool]", *more: str) -> Iterator[list[Sequence[Any]]]:
        """Yield the rows in the order of ``id``, a page at a time: ``id`` first, then the columns ``more``.

        No transaction is open between two pages, and the next page begins after the last ``id`` of the one before.
        """
        key, columns = self["id"], [self[each] for each in ("id", *more)]
        query = self.table.select().with_only_columns(*columns).where(where).order_by(key).limit(PAGE_ROWS)
        page = self._read(query)
        while page:
            yield page
            page = self._read(query.where(key > page[-1][0]))

    @contextmanager
    def transaction(self) -> "Iterator[Connection]":
        """Return a connection whose changes are committed at the end, and undone where an exception passes.

        Raises:
            DatabaseUnreachable: the database does not answer, or another writer holds it for too long.
            DatabaseRefused: it answers, and refuses a statement.
        """
        with _converting_errors(self.engine.url), self.engine.begin() as connection:
            yield connection

    def change(self, statement: Any) -> int:
        """Execute an ``UPDATE`` or ``DELETE`` in its own transaction; return how many rows it changed."""
        with self.transaction() as connection:
            return int(connection.execute(statement).rowcount)

    def _read(self, query: Any) -> list[Sequence[Any]]:
        with self.transaction() as connection:
            return list(connection.execute(query))


def concerns_rows(refusal: DatabaseRefused) -> bool:
    """Return whether a database refused the rows of a statement, so that it may take others; not the statement."""
    return not isinstance(refusal.__cause__, _sqlalchemy().exc.ProgrammingError)


def _renamed(variable: str, columns: Mapping[str, Any]) -> dict[str, str]:
    """Return the table's column names by ours: ``exp_month=month exp_year=year`` renames two of them."""
    names = {column: column for column in columns}
    value = env.text(variable)
    for pair in value.replace(",", " ").split():
        ours, _, theirs = pair.partition("=")
        if ours not in names or not theirs:
            raise BadEnvironment.of(variable, value, f"pairs such as id=number; before the = one of {', '.join(names)}")
        names[ours] = theirs
    return names


# The process is part of the key: a connection must not be used on both sides of a fork.
@lru_cache(maxsize=8)
def _reflected(
    url: str, process: int, name: str, columns: tuple[tuple[str, str, tuple[str, ...]], ...]
) -> "tuple[Engine, Table, dict[str, Column[Any]]]":
    engine = _engine(url, process)
    schema, _, bare = name.rpartition(".")
    sql = _sqlalchemy()
    address = _sanitized(engine.url)
    with _converting_errors(engine.url):
        try:
            table = sql.Table(bare, sql.MetaData(), schema=schema or None, autoload_with=engine, resolve_fks=False)
        except sql.exc.NoSuchTableError as exc:
            raise TableMismatch.without_table(
                name, address, sql.inspect(engine).get_table_names(schema or None)
            ) from exc
    return engine, table, {ours: _column(table, theirs, kinds, address) for theirs, ours, kinds in columns}


def _column(table: "Table", name: str, kinds: tuple[str, ...], address: str) -> "Column[Any]":
    types = _sqlalchemy().types
    if name not in table.columns:
        raise TableMismatch.without_column(table.fullname, name, address, table.columns.keys())
    column = table.columns[name]
    if kinds and not isinstance(column.type, tuple(getattr(types, kind) for kind in kinds)):
        raise TableMismatch.of_type(table.fullname, name, address, str(column.type), " or ".join(kinds))
    return column


@lru_cache(maxsize=8)
def _engine(url: str, process: int) -> "Engine":  # noqa: ARG001
    sql = _sqlalchemy()
    address = _parsed(url)
    is_sqlite = address.get_backend_name() == "sqlite"
    try:
        engine = sql.create_engine(
            address, pool_pre_ping=True, connect_args={"timeout": SQLITE_TIMEOUT_SECONDS} if is_sqlite else {}
        )
    except sql.exc.NoSuchModuleError as exc:
        raise BadEnvironment.of("DATABASE_URL", _sanitized(address), EXAMPLES) from exc
    except ImportError as exc:
        wanted = f"a URL whose driver is installed ({exc}); install that, or name another: postgresql+psycopg://"
        raise BadEnvironment.of("DATABASE_URL", _sanitized(address), wanted) from exc
    if is_sqlite:
        # SQLite does not check foreign keys by default: a deleted row would leave orphans, without an error.
        sql.event.listen(engine, "connect", lambda driver, _: driver.execute("pragma foreign_keys = on"))
    return engine  # type: ignore[no-any-return]


def _parsed(url: str) -> "URL":
    sql = _sqlalchemy()
    try:
        return sql.make_url(url)  # type: ignore[no-any-return]
    except (sql.exc.ArgumentError, ValueError) as exc:
        # What cannot be parsed may hold a password anywhere.
        raise BadEnvironment.of("DATABASE_URL", "***" if url else "", EXAMPLES) from exc


def _sanitized(url: "URL") -> str:
    return url.set(query={}).render_as_string(hide_password=True)


@contextmanager
def _converting_errors(url: "URL") -> Iterator[None]:
    """Convert SQLAlchemy's errors into ours: those that a retry may fix, and the others."""
    errors = _sqlalchemy().exc
    try:
        yield
    except (errors.OperationalError, errors.InterfaceError, errors.TimeoutError) as exc:
        raise DatabaseUnreachable.at(_sanitized(url), getattr(exc, "orig", None) or exc) from exc
    except errors.DBAPIError as exc:
        raise DatabaseRefused.by(_sanitized(url), exc.orig or exc) from exc


def _sqlalchemy() -> ModuleType:
    try:
        import sqlalchemy
    except ImportError as exc:
        raise MissingExtra.named("sqlalchemy", "sql") from exc
    return sqlalchemy
