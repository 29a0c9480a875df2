"""Errors of mail, files and databases, which the bundled tasks use."""

from collections.abc import Collection
from pathlib import Path
from typing import Self

from framework.errors.base import FrameworkError, listed, message, one_line


class BadMail(FrameworkError, ValueError):
    """A mail was refused before anything was sent."""

    @classmethod
    def of(cls, part: str, fault: str, fix: str) -> Self:
        """Say which part of the mail has which fault, and how to fix it; never what a visitor wrote."""
        return cls(message(f"The mail's {part} {fault}", fix=f"{fix} Nothing was sent."))


class BadRows(FrameworkError, ValueError):
    """Rows were refused before anything was written."""


class OutsideFolder(FrameworkError, ValueError):
    """A file name leads out of the folder it must stay in."""

    @classmethod
    def named(cls, name: object, folder: Path) -> Self:
        """Name both."""
        fix = "Give a name relative to that folder."
        return cls(message(f"{str(name)!r} is not a file inside the folder {folder}", fix=fix))


class ScanError(FrameworkError):
    """A file could not be scanned."""


class BadPeriod(FrameworkError, ValueError):
    """A number of days or months cannot be used; nothing was changed."""

    @classmethod
    def of(cls, name: str, value: object, *, least: int, most: int) -> Self:
        """Name the argument, its value and the numbers it takes."""
        wanted = f"it must be a whole number from {least} to {most}"
        return cls(message(f"{name} is {value!r}", wanted, effect="Nothing was changed."))


class DatabaseUnreachable(FrameworkError, OSError):
    """The database does not answer; a retry may help."""

    @classmethod
    def at(cls, url: str, cause: BaseException) -> Self:
        """Name the database by its ``url`` (already without password), and the cause."""
        return cls(
            message(
                f"The database {url} cannot be used",
                one_line(cause),
                effect="Committed changes stay.",
                fix="Start it, or set DATABASE_URL to one that runs.",
            )
        )


class DatabaseRefused(FrameworkError):
    """The database answers and refuses the request; a retry does not help."""

    @classmethod
    def by(cls, url: str, cause: BaseException) -> Self:
        """Name the database by its ``url`` (already without password), and its answer."""
        return cls(
            message(
                f"The database {url} refuses",
                one_line(cause),
                effect="That transaction was undone.",
                fix="Check the rights of the user in DATABASE_URL, and the table's constraints.",
            )
        )


class TableMismatch(FrameworkError):
    """A table of the database is not as a task needs it; nothing was changed."""

    @classmethod
    def without_table(cls, table: str, url: str, there: Collection[str]) -> Self:
        """Name the table, the database by its ``url`` (already without password), and the tables it has."""
        return cls(
            message(
                f"The database {url} has no table {table!r}; it has {listed(there)}",
                fix="Check DATABASE_URL, or name your table: CARDS_TABLE, ACCOUNTS_TABLE.",
            )
        )

    @classmethod
    def without_column(cls, table: str, column: str, url: str, there: Collection[str]) -> Self:
        """Name the column, its table, and the columns that it has."""
        return cls(
            message(
                f"The table {table!r} of {url} has no column {column!r}; it has {listed(there)}",
                fix="Add it, or say which one is meant: CARDS_COLUMNS, ACCOUNTS_COLUMNS.",
            )
        )

    @classmethod
    def of_type(cls, table: str, column: str, url: str, found: str, wanted: str) -> Self:
        """Name the column, the type it has and the type it should have."""
        return cls(
            message(
                f"The column {column!r} of the table {table!r} of {url} is {found}",
                f"it must be {wanted}",
                fix="Change it, or name another: CARDS_COLUMNS, ACCOUNTS_COLUMNS.",
            )
        )
