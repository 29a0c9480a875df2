"""Errors of the broker's file: a clear message, no loss, and recovery once the cause is fixed."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kombu import Connection, Queue

from framework.broker import register
from framework.broker.sqlite import database
from framework.errors import BrokerFileRefused, BrokerFileUnavailable

NEWER = 9
ROOT = Path(__file__).parents[3]
register()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "broker.db"


@pytest.fixture
def connect(file: Path) -> Iterator[Callable[..., Connection]]:
    connections: list[Connection] = []

    def connect(**options: object) -> Connection:
        connections.append(Connection(f"sqlite:///{file}", transport_options=options))
        return connections[-1]

    yield connect
    for connection in connections:
        connection.release()


def publish(connection: Connection, *bodies: str) -> None:
    producer = connection.Producer()
    for body in bodies:
        producer.publish(body, routing_key="mail")


def declare(connection: Connection) -> None:
    Queue("mail", channel=connection.default_channel).declare()


def bodies(connection: Connection) -> list[object]:
    queue = Queue("mail", channel=connection.default_channel)
    return [message.body for message in iter(lambda: queue.get(no_ack=True), None)]


def test_an_empty_file_becomes_a_broker(file, connect):
    file.touch()

    declare(connect())

    assert file.stat().st_size > 0


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///"])
def test_a_url_without_a_file_is_refused(url):
    with pytest.raises(BrokerFileRefused, match="names no file"):
        Connection(url).connect()


def test_three_slashes_are_relative_and_four_absolute(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    with Connection("sqlite:///broker.db") as relative, Connection(f"sqlite:///{file}") as absolute:
        declare(relative)
        publish(absolute, "hello")

        assert bodies(relative) == ["hello"]


def test_another_programs_file_is_refused_and_left_alone(file, connect):
    with sqlite3.connect(file) as other:
        other.execute("create table theirs (x)")
    other.close()
    before = file.read_bytes()

    with pytest.raises(BrokerFileRefused, match=f"{file} is an SQLite file, but not one of the embedded broker"):
        connect().connect()

    assert file.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(file, connect):
    file.write_text("Dear diary, " * 100)

    with pytest.raises(BrokerFileRefused, match="not an SQLite file, or is damaged"):
        connect().connect()

    assert file.read_text() == "Dear diary, " * 100


def test_a_damaged_file_is_refused(file, connect):
    with Connection(f"sqlite:///{file}") as connection:
        declare(connection)
        publish(connection, *("x" * 1000 for _ in range(50)))
    damaged = bytearray(file.read_bytes())
    damaged[4096:] = b"\xff" * (len(damaged) - 4096)
    file.write_bytes(damaged)

    with pytest.raises(BrokerFileRefused, match="damaged"):
        declare(connect())


def test_the_file_of_a_newer_version_is_refused(file, connect):
    with Connection(f"sqlite:///{file}") as connection:
        declare(connection)
    with sqlite3.connect(file) as newer:
        newer.execute(f"pragma user_version = {NEWER}")
    newer.close()

    with pytest.raises(BrokerFileRefused, match=f"a newer version of the framework .format {NEWER};"):
        connect().connect()


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(BrokerFileUnavailable, match=r"nowhere/broker.db cannot be opened: No such file or directory"):
        Connection(f"sqlite:///{tmp_path}/nowhere/broker.db").connect()


def test_only_the_user_can_read_the_files(file, connect):
    before = os.umask(0)
    try:
        connection = connect()
        declare(connection)
        connection.Consumer(Queue("mail")).consume()
        publish(connection, "secret")
        files = [path for path in file.parent.rglob("*") if not path.is_dir()]
        folders = [path for path in file.parent.rglob("*") if path.is_dir()]
    finally:
        os.umask(before)

    assert {path.name for path in files} >= {"broker.db", "broker.db-wal", "broker.db-shm", "broker.db-owners"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}


@pytest.mark.parametrize("removed", ["broker.db", "broker.db*"])
def test_a_removed_file_raises_and_the_next_declaration_creates_another(file, connect, removed):
    connection = connect()
    declare(connection)
    connection.Consumer(Queue("mail")).consume()
    for path in file.parent.glob(removed):
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    with pytest.raises(BrokerFileUnavailable, match="was removed or replaced while it was open"):
        publish(connection, "lost?")

    connection.collect()
    declare(connection)
    publish(connection, "here")
    assert bodies(connection) == ["here"]


def test_a_file_locked_for_long_raises_and_works_once_it_is_unlocked(file, connect, monkeypatch):
    monkeypatch.setattr(database, "BUSY_TIMEOUT_SECONDS", 0.2)
    connection = connect()
    declare(connection)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("begin immediate")

    with pytest.raises(BrokerFileUnavailable, match="another process has kept it locked"):
        publish(connection, "too early")

    other.execute("rollback")
    other.close()
    connection.collect()
    publish(connection, "now")
    assert bodies(connection) == ["now"]


def test_a_long_reader_does_not_block_writers(file, connect):
    connection = connect()
    declare(connection)
    reader = sqlite3.connect(file, isolation_level=None)
    reader.execute("begin")
    reader.execute("select * from message").fetchall()

    publish(connection, *"abc")

    assert bodies(connection) == [*"abc"]
    reader.close()


@pytest.mark.parametrize("level", ["normal", "full"])
def test_the_level_of_durability_can_be_set(connect, level):
    connection = connect(synchronous=level)
    declare(connection)

    publish(connection, "hello")

    assert bodies(connection) == ["hello"]


def test_an_unknown_level_of_durability_is_refused(connect):
    with pytest.raises(BrokerFileRefused, match="neither 'normal' nor 'full'"):
        connect(synchronous="off").connect()


# Runs in a separate mount namespace, where any user may mount.
ON_A_SMALL_DISK = """
import sys
from framework.broker import register
from framework.errors import BrokerFileUnavailable
from kombu import Connection, Queue
from pathlib import Path
register()
folder = Path(sys.argv[1])
ballast = folder / "ballast"
ballast.write_bytes(b"x" * 1_200_000)
connection = Connection(f"sqlite:///{folder}/broker.db")
Queue("mail", channel=connection.default_channel).declare()
sent = 0
try:
    while True:
        connection.Producer().publish("x" * 10_000, routing_key="mail")
        sent += 1
except BrokerFileUnavailable as error:
    print(error.message)
ballast.unlink()
connection.collect()
connection.Producer().publish("last", routing_key="mail")
queue = Queue("mail", channel=connection.default_channel)
print([queue.get(no_ack=True).body[:4] for _ in range(sent + 1)] == ["xxxx"] * sent + ["last"])
"""

ON_A_READ_ONLY_DISK = """
import sys
from framework.broker import register
from framework.errors import BrokerFileUnavailable
from kombu import Connection, Queue
register()
connection = Connection(f"sqlite:///{sys.argv[1]}/broker.db")
try:
    channel = connection.default_channel
    if sys.argv[2] == "declare":
        Queue("mail", channel=channel).declare()
    connection.Producer().publish("hello", routing_key="mail")
    print(Queue("mail", channel=channel).queue_declare(passive=True).message_count)
except BrokerFileUnavailable as error:
    print(error.message)
"""


def on_a_separate_disk(folder: Path, script: str, *steps: str) -> list[str]:
    """Return the lines that ``script`` prints; each step is a shell command in which it is called ``run``."""
    (folder / "disk").mkdir()
    lines = ["set -e", 'run() { "$0" -c "$1" disk "$2"; }', "mount -t tmpfs -o size=2m none disk"]
    shell = "\n".join([*lines, *(step.replace("run", 'run "$1"') for step in steps)])
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", shell, sys.executable, script]
    source = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=source, capture_output=True, text=True, timeout=110, check=False)
    if done.stderr.startswith(("unshare:", "mount:")):
        pytest.skip(f"this machine mounts nothing for a test: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_full_disk_raises_loses_nothing_and_works_once_it_has_space(tmp_path):
    error, all_there = on_a_separate_disk(tmp_path, ON_A_SMALL_DISK, "run")

    assert "the disk is full. Make room, then retry. Nothing was queued" in error
    assert all_there == "True"


def test_a_read_only_file_raises_and_works_once_it_is_writable(tmp_path):
    steps = ["run declare", "mount -o remount,ro disk", "run", "mount -o remount,rw disk", "run"]

    before, error, after = on_a_separate_disk(tmp_path, ON_A_READ_ONLY_DISK, *steps)

    assert "Make the file and its folder writable" in error or "must exist and be writable" in error
    assert (before, after) == ("1", "2")
