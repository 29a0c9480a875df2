"""The file of the embedded broker, while several processes create it."""

import sqlite3
from threading import Thread

import pytest

from framework.broker.sqlite.database import Database


def create(path):
    database = Database(path)
    database.read("select version from topology")
    database.close()


@pytest.mark.parametrize("moment", ["application_id", "user_version", "sqlite_master"])
def test_a_file_that_another_process_creates_right_now_is_not_taken_for_a_strange_one(tmp_path, moment):
    path = tmp_path / "broker.db"
    creator = Thread(target=create, args=(path,))

    def create_in_between(statement):
        if moment in statement and creator.ident is None:
            creator.start()
            creator.join(1)  # it may have to wait until the file has been read

    first = Database(path)
    try:
        with sqlite3.connect(path, isolation_level=None) as db:
            db.set_trace_callback(create_in_between)
            assert first._is_stamped(db) in (True, False)
    finally:
        db.close()
        creator.join(60)

    assert not creator.is_alive()
    create(path)
