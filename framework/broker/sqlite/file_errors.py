"""The errors of a broker's file, each with its cause and fix."""

import sqlite3
from pathlib import Path

from framework.broker.sqlite.schema import VERSION
from framework.errors import BrokerError, BrokerFileRefused, BrokerFileUnavailable

__all__ = ["cannot_open", "file_error", "file_gone", "not_a_broker", "unsupported_version"]


_NOT_A_DATABASE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


def file_error(path: Path, error: sqlite3.Error, *, waited: float) -> BrokerError:
    """Return the error for SQLite's ``error`` on ``path``; for a locked file, after ``waited`` seconds."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _NOT_A_DATABASE:
        return BrokerFileRefused(
            f"{path} is not an SQLite file, or is damaged ({error}). It was left as it is. "
            "Name another file in sqlite:///, or move this one away."
        )
    locked = f"another process has kept it locked for {waited:.0f} seconds. End that process"
    causes = {
        sqlite3.SQLITE_BUSY: locked,
        sqlite3.SQLITE_FULL: "the disk is full. Make room",
        sqlite3.SQLITE_READONLY: "it is read-only. Make the file and its folder writable for this user",
        sqlite3.SQLITE_CANTOPEN: "it cannot be opened. Its folder must exist and be writable for this user",
    }
    cause = causes.get(code, f"{error}. Look at the disk")
    return BrokerFileUnavailable(
        f"The broker file {path} cannot be used: {cause}, then retry. Nothing was queued, nothing lost."
    )


def cannot_open(path: Path, error: OSError) -> BrokerFileUnavailable:
    """Return the error for a file that the operating system refuses."""
    return BrokerFileUnavailable(
        f"The broker file {path} cannot be opened: {error.strerror}. Nothing was queued. "
        "Its folder must exist, and this user must be allowed to write to both."
    )


def file_gone(path: Path) -> BrokerFileUnavailable:
    """Return the error for a file that is not where it was opened."""
    return BrokerFileUnavailable(
        f"The broker file {path} was removed or replaced while it was open. Nothing was queued. "
        "Retry: a new file is created, unless the old one is put back."
    )


def not_a_broker(path: Path) -> BrokerFileRefused:
    """Return the error for another program's file."""
    return BrokerFileRefused(
        f"{path} is an SQLite file, but not one of the embedded broker. It was left as it is. "
        "Name a file that does not exist yet in sqlite:///."
    )


def unsupported_version(path: Path, version: int) -> BrokerFileRefused:
    """Return the error for a file in the format of another version of the library."""
    age = "a newer" if version > VERSION else "an older"
    return BrokerFileRefused(
        f"The broker file {path} was written by {age} version of the framework (format {version}; this one writes "
        f"format {VERSION}). Use that version, or another file."
    )
