"""Errors of mail, files and databases, which the bundled tasks use."""

from collections.abc import Collection
from pathlib import Path
from typing import Self

from framework.errors.base import FrameworkError, listed, one_line


class BadMail(FrameworkError, ValueError):
    """A mail was refused before anything was sent."""

    @classmethod
    def of(cls, part: str, fault: str, cure: str) -> Self:
        """Say which part of the mail has which fault, and what would be right; never what a visitor wrote."""
        return cls(f"The mail's {part} {fault}. {cure} Nothing was sent.")


class BadRows(FrameworkError, ValueError):
    """Rows were refused before anything was written."""


class OutsideFolder(FrameworkError, ValueError):
    """A file name leads out of the folder it must stay in."""

    @classmethod
    def named(cls, name: object, folder: Path) -> Self:
        """Name both."""
        return cls(f"{str(name)!r} is not a file inside the folder {folder}. Give a name relative to that folder.")


class ScanError(FrameworkError):
    """A file could not be scanned."""


class BadPeriod(FrameworkError, ValueError):
    """A number of days or months cannot be used; nothing was changed."""

    @classmethod
    def check(cls, name: str, value: object, *, least: int, most: int) -> None:
        """Refuse what is no whole number from ``least`` to ``most``, by its ``name``."""
        if type(value) is not int or not least <= value <= most:
            raise cls(f"{name} is {value!r}: it must be a whole number from {least} to {most}. Nothing was changed.")


class DatabaseUnreachable(FrameworkError, OSError):
    """The database does not answer; trying again may help."""

    @classmethod
    def at(cls, url: str, cause: BaseException) -> Self:
        """Name the database by its ``url`` (already without password), and the cause."""
        return cls(
            f"The database {url} cannot be used: {one_line(cause)}. What was committed stays. "
            "Start it, or set DATABASE_URL to one that runs."
        )


class DatabaseRefused(FrameworkError):
    """The database answers and does not do what is asked; trying again will not help."""

    @classmethod
    def by(cls, url: str, cause: BaseException) -> Self:
        """Name the database by its ``url`` (already without password), and what it said."""
        return cls(
            f"The database {url} refuses: {one_line(cause)}. That transaction was undone. "
            "Check the rights of the user in DATABASE_URL, and what the table's constraints ask for."
        )


class TableMismatch(FrameworkError):
    """A table of the database is not as a task needs it; nothing was changed."""

    @classmethod
    def missing(cls, table: str, url: str, there: Collection[str]) -> Self:
        """Name the table, the database by its ``url`` (already without password), and the tables it has."""
        return cls(
            f"The database {url} has no table {table!r}; it has {listed(there)}. "
            "Check DATABASE_URL, or name your table: CARDS_TABLE, ACCOUNTS_TABLE."
        )

    @classmethod
    def without_column(cls, table: str, column: str, url: str, there: Collection[str]) -> Self:
        """Name the column, its table, and the columns that it has."""
        return cls(
            f"The table {table!r} of {url} has no column {column!r}; it has {listed(there)}. "
            "Add it, or say which one is meant: CARDS_COLUMNS, ACCOUNTS_COLUMNS."
        )

    @classmethod
    def of_type(cls, table: str, column: str, url: str, found: str, wanted: str) -> Self:
        """Name the column, the type it has and the type it should have."""
        return cls(
            f"The column {column!r} of the table {table!r} of {url} is {found}: it must be {wanted}. "
            "Change it, or name another: CARDS_COLUMNS, ACCOUNTS_COLUMNS."
        )
