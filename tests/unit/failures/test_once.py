"""`once`, whose key is committed with the effect: in SQLite, and in PostgreSQL if it is installed."""

import multiprocessing
import os
import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import sqlalchemy
from sqlalchemy.orm import Session

from framework.errors import NotATransaction
from framework.failures import forget, once

POSTGRES = os.environ.get("TEST_POSTGRES_URL")  # postgresql://user:password@host/database; a schema is made there
SCHEMA = "framework_once_test"


class SQLite:
    """Connects tests to a database in one file."""

    def __init__(self, folder):
        self.file = folder / "shop.db"
        self.url = f"sqlite:///{self.file}"

    def connect(self):
        return sqlite3.connect(self.file, timeout=60)


class Postgres:
    def __init__(self):
        self._address = f"{POSTGRES}?options=-csearch_path%3D{SCHEMA}"
        self.url = self._address.replace("postgresql:", "postgresql+psycopg:")
        with closing(self.connect()) as connection:
            connection.execute(f"drop schema if exists {SCHEMA} cascade")
            connection.execute(f"create schema {SCHEMA}")
            connection.commit()

    def connect(self):
        import psycopg

        return psycopg.connect(self._address)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    if request.param == "postgresql" and not POSTGRES:
        pytest.skip("TEST_POSTGRES_URL names no PostgreSQL to test with")
    return SQLite(tmp_path) if request.param == "sqlite" else Postgres()


@pytest.fixture
def connect(database):
    """Open connections that are closed at the end; the table ``effects`` exists."""
    opened = []

    def connect():
        opened.append(database.connect())
        return opened[-1]

    first = connect()
    first.execute("create table effects (name varchar(50))")
    first.commit()
    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture
def engine(database, connect):
    engine = sqlalchemy.create_engine(database.url)
    yield engine
    engine.dispose()


def effects(connection):
    return [name for (name,) in connection.execute("select name from effects order by name").fetchall()]


def handle(connection, key, effect="booked"):
    if once(connection, key):
        connection.execute(f"insert into effects values ('{effect}')")


def test_a_key_is_new_once(connect):
    connection = connect()

    assert once(connection, "task-1")
    assert not once(connection, "task-1")
    connection.commit()

    another = connect()
    assert not once(another, "task-1")
    assert once(another, "task-2")


def test_a_rolled_back_key_is_new_again(connect):
    connection = connect()
    handle(connection, "task-1")
    connection.rollback()

    handle(connection, "task-1")
    connection.commit()

    assert effects(connection) == ["booked"]


def test_a_rollback_undoes_key_and_earlier_statements(connect):
    connection = connect()
    connection.execute("insert into effects values ('before')")
    handle(connection, "task-1")
    connection.rollback()

    assert effects(connection) == []
    assert once(connection, "task-1")


@pytest.mark.parametrize("committed", [True, False])
def test_a_transaction_with_the_same_key_is_waited_for(connect, database, committed):
    first = connect()
    assert once(first, "task-1")
    with ThreadPoolExecutor() as elsewhere:
        answer = elsewhere.submit(once_committed, database, "task-1")
        with pytest.raises(TimeoutError):
            answer.result(timeout=0.3)

        first.commit() if committed else first.rollback()

        assert answer.result(timeout=60) is not committed


def test_many_at_once_create_the_table_and_one_has_the_key(connect, database):
    with ThreadPoolExecutor(16) as elsewhere:
        answers = list(elsewhere.map(lambda _: once_committed(database, "task-1"), range(16)))

    assert answers.count(True) == 1


def once_committed(database, key):
    with closing(database.connect()) as connection:
        new = once(connection, key)
        connection.commit()
        return new


@pytest.mark.parametrize("when", ["before the commit", "after the commit"])
def test_a_task_whose_worker_was_killed_has_its_effect_once(connect, database, when):
    processes = multiprocessing.get_context("fork")
    killed = processes.Process(target=handle_and_die, args=(database, when))
    killed.start()
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL

    again = connect()
    handle(again, "task-1")
    again.commit()

    assert effects(again) == ["booked"]


def handle_and_die(database, when):
    connection = database.connect()
    handle(connection, "task-1")
    if when == "after the commit":
        connection.commit()
    os.kill(os.getpid(), signal.SIGKILL)


def test_sqlalchemy_s_connection_keeps_key_and_effect_together(engine):
    effect = sqlalchemy.text("insert into effects values ('booked')")
    with engine.connect() as connection:
        assert once(connection, "task-1")
        connection.execute(effect)
        connection.rollback()

    for _ in range(2):
        with engine.begin() as connection:
            if once(connection, "task-1"):
                connection.execute(effect)

    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("select count(*) from effects")) == 1


def test_sqlalchemy_s_session_keeps_key_and_effect_together(engine):
    with Session(engine) as session:
        assert once(session, "task-1")
        session.rollback()
        assert once(session, "task-1")
        session.commit()
        assert not once(session, "task-1")


def test_sqlalchemy_without_transactions_is_refused(engine):
    refused = pytest.raises(NotATransaction, match="commits every statement separately")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection, refused:
        once(connection, "task-1")


def test_sqlite_s_transaction_begun_by_sqlalchemy_s_events_is_one(tmp_path):
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/shop.db")
    sqlalchemy.event.listen(engine, "connect", lambda driver, _: setattr(driver, "isolation_level", None))
    sqlalchemy.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("begin immediate"))

    with engine.connect() as connection:
        assert once(connection, "task-1")
        connection.rollback()
        assert once(connection, "task-1")
    engine.dispose()


def test_sqlite_without_a_transaction_is_refused_and_with_one_is_not(tmp_path):
    with closing(sqlite3.connect(tmp_path / "shop.db", isolation_level=None)) as connection:
        with pytest.raises(NotATransaction, match="begin one"):
            once(connection, "task-1")

        connection.execute("begin")
        assert once(connection, "task-1")
        connection.execute("rollback")
        connection.execute("begin")
        assert once(connection, "task-1")


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_postgresql_without_a_transaction_is_refused_and_with_one_is_not(connect):
    connection = connect()
    connection.autocommit = True
    with pytest.raises(NotATransaction, match="begin one"):
        once(connection, "task-1")

    with connection.transaction(force_rollback=True):
        assert once(connection, "task-1")
    with connection.transaction():
        assert once(connection, "task-1")


def test_old_keys_are_deleted(connect):
    connection = connect()
    assert forget(connection, older_than=60) == 0
    once(connection, "old")
    connection.execute("update framework_once set at = at - 100")
    once(connection, "new")

    assert forget(connection, older_than=60) == 1
    connection.commit()

    assert once(connection, "old")
    assert not once(connection, "new")


@pytest.mark.parametrize("key", ["", "x" * 256, None, 7])
def test_an_invalid_key_is_refused(connect, key):
    with pytest.raises(ValueError, match="1 to 255 characters"):
        once(connect(), key)


def test_an_object_that_is_no_connection_is_refused():
    with pytest.raises(NotATransaction, match=r"builtins\.dict is no connection"):
        once({}, "task-1")
