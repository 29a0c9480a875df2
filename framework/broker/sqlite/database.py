"""Opens and checks the embedded broker's file, and runs short transactions that many processes write.

A committed transaction survives the crash of any process. With ``synchronous="full"`` it survives a power cut too, at
the price of an fsync each; with ``"normal"`` a power cut may lose the last transactions, but never damages the file.
"""

import ctypes
import os
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import uniform
from threading import Lock, RLock
from typing import Any, TypeVar

from framework.broker.deadline import bounded
from framework.broker.sqlite.file_errors import cannot_open, file_error, file_gone, not_a_broker, unsupported_version
from framework.broker.sqlite.schema import APPLICATION_ID, DDL, VERSION
from framework.broker.sqlite.wakeup import wake

__all__ = ["BUSY_TIMEOUT_SECONDS", "Database", "Transaction", "retry_while_busy"]


T = TypeVar("T")

#: Seconds that an operation waits for a locked file before it raises.
BUSY_TIMEOUT_SECONDS = 30.0

_BUSY_CODES = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class Transaction:
    """A transaction: ``execute`` runs SQL, ``woken`` collects the connections to wake after the commit."""

    __slots__ = ("_ticks", "execute", "now", "woken")

    def __init__(self, db: sqlite3.Connection) -> None:
        self.execute = db.execute
        self.now = time.time()
        self._ticks = 0
        self.woken: set[int] = set()

    def tick(self) -> float:
        """Return a time a little later than the previous one, so that the events of a transaction keep their order."""
        self._ticks += 1
        return self.now + self._ticks * 1e-6

    def value(self, sql: str, *parameters: Any) -> Any:
        """Return the first column of the first row, or None."""
        row = self.execute(sql, parameters).fetchone()
        return row and row[0]


class Database:
    """One connection's handle of a broker's file; threads take turns."""

    def __init__(self, path: Path, synchronous: str = "normal") -> None:
        self.path = path
        self._synchronous = synchronous
        self._db: sqlite3.Connection | None = None
        self._identity: os.stat_result | None = None
        self.lock = RLock()
        _databases.add(self)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Begin a transaction; it is committed when the block ends, and rolled back if the block raises.

        Raises:
            BrokerFileRefused: the file is no broker of this version.
            BrokerFileUnavailable: the file is locked, gone, full or read-only.
        """
        with self.lock:
            with self._translating():
                db = self._db or self._opened()
                retry_while_busy(lambda: db.execute("begin immediate"))
            transaction = Transaction(db)
            try:
                self.check_still_there()
                with self._translating():
                    yield transaction
                    db.execute("commit")
            except BaseException:
                with suppress(sqlite3.Error):
                    db.rollback()
                raise
        self.wake(transaction.woken)

    def wake(self, owners: set[int]) -> None:
        """Wake connections after a commit."""
        for owner in owners:
            wake(self.path, owner)

    def read(self, sql: str, *parameters: Any) -> list[Any]:
        """Return the rows of one query, outside any transaction."""
        with self.lock, self._translating():
            db = self._db or self._opened()
            return retry_while_busy(lambda: db.execute(sql, parameters).fetchall())

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self.lock:
            db, self._db = self._db, None
            if db is not None:
                with suppress(sqlite3.Error):
                    db.close()

    def abandon(self) -> None:
        """Drop, in a forked child, a handle that belongs to the parent."""
        if self._db is not None:
            # Closing it here would run SQLite's cleanup of the last connection on a file that the parent still writes.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._db))
            self._db = None

    def _opened(self) -> sqlite3.Connection:
        _create_if_missing(self.path)
        db = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=512)
        try:
            retry_while_busy(lambda: self._prepare(db))
        except BaseException:
            db.close()
            raise
        self._db = db
        if self._identity is None:
            self._identity = self.path.stat()
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        if not self._is_stamped(db):
            db.execute("pragma journal_mode = wal")
            self._create(db)
        db.execute(f"pragma synchronous = {self._synchronous}")
        db.execute("pragma temp_store = memory")
        db.execute("pragma wal_autocheckpoint = 4000")
        db.execute("pragma journal_size_limit = 33554432")

    def _is_stamped(self, db: sqlite3.Connection) -> bool:
        application, version, tables = self._header(db)
        if application == APPLICATION_ID and version == VERSION:
            return True
        if application == APPLICATION_ID:
            raise unsupported_version(self.path, version)
        if application or version or tables:
            raise not_a_broker(self.path)
        return False

    def _header(self, db: sqlite3.Connection) -> tuple[int, int, int]:
        """Return application id, version and number of tables at one moment: another process may be creating them."""
        if not db.in_transaction:
            db.execute("begin")
            try:
                return self._header(db)
            finally:
                db.rollback()
        (tables,) = db.execute("select count(*) from sqlite_master").fetchone()  # the snapshot begins with this read
        (application,) = db.execute("pragma application_id").fetchone()
        (version,) = db.execute("pragma user_version").fetchone()
        return application, version, tables

    def _create(self, db: sqlite3.Connection) -> None:
        db.execute("begin immediate")
        try:
            if not self._is_stamped(db):
                for statement in DDL:
                    db.execute(statement)
                db.execute(f"pragma application_id = {APPLICATION_ID}")
                db.execute(f"pragma user_version = {VERSION}")
            db.execute("commit")
        except BaseException:
            db.rollback()
            raise

    def check_still_there(self) -> None:
        """Check that the path still names the opened file.

        Raises:
            BrokerFileUnavailable: the file was removed or replaced.
        """
        if self._db is None:
            return
        try:
            there = self._identity is not None and os.path.samestat(self._identity, self.path.stat())
        except OSError:
            there = False
        if not there:
            self.close()
            raise file_gone(self.path)

    @contextmanager
    def _translating(self) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        except sqlite3.Error as error:
            raise file_error(self.path, error, waited=time.monotonic() - started) from error
        except OSError as error:
            raise cannot_open(self.path, error) from error


def _create_if_missing(path: Path) -> None:
    # Created here, because SQLite would make it readable for others. An existing file is not opened: closing any
    # descriptor of a file drops all locks that the process has on it, SQLite's too.
    with _creating, suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


_creating = Lock()
_databases = weakref.WeakSet["Database"]()
_locked_for_fork: list[Database] = []


def _close_before_fork() -> None:
    # No SQLite handle may cross a fork, not even unused: SQLite records its locks for each file and process, and the
    # child would take its parent's locks for its own.
    for database in list(_databases):
        database.lock.acquire()
        database.close()
        _locked_for_fork.append(database)


def _unlock_after_fork() -> None:
    while _locked_for_fork:
        _locked_for_fork.pop().lock.release()


def _start_child() -> None:
    global _creating
    _creating = Lock()
    for database in list(_databases):
        database.abandon()
    _unlock_after_fork()


os.register_at_fork(before=_close_before_fork, after_in_parent=_unlock_after_fork, after_in_child=_start_child)


def retry_while_busy(attempt: Callable[[], T]) -> T:
    """Call ``attempt`` until the file is not locked, for at most `BUSY_TIMEOUT_SECONDS`, or to the call's deadline.

    SQLite's own waiting sleeps longer and longer, which serves the oldest waiter last; these sleeps stay short and
    random.
    """
    deadline = time.monotonic() + (bounded(BUSY_TIMEOUT_SECONDS) or 0.0)
    longest = 0.0005
    while True:
        try:
            return attempt()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _BUSY_CODES or time.monotonic() > deadline:
                raise
        time.sleep(uniform(0, longest))
        longest = min(longest * 2, 0.008)
