"""Errors of the beat schedule."""

from collections.abc import Collection
from typing import Self

from framework.errors.base import FrameworkError, message, nearest


class BadSchedule(FrameworkError, ValueError):
    """The ``schedule`` of an entry cannot be followed."""

    @classmethod
    def of(cls, schedule: object, fault: str, fix: str) -> Self:
        """Name the schedule, its fault and the fix."""
        return cls(message(f"The schedule {schedule!r} cannot be followed", fault, fix=fix))

    @classmethod
    def in_entry(cls, entry: str, cause: "BadSchedule") -> Self:
        """Name the entry that has it."""
        return cls(f"The entry {entry!r}: {cause.message}")


class BadEntries(FrameworkError, ValueError):
    """Entries of the beat schedule cannot be scheduled; nothing was started."""

    @classmethod
    def of(cls, faults: Collection[str]) -> Self:
        """List the fault of each."""
        return cls("\n".join([message("The beat schedule cannot be followed, so nothing was started"), *faults]))

    @classmethod
    def in_options(cls, entry: str, option: str, fault: str, fix: str) -> Self:
        """Name an entry whose task cannot be encoded, which of its options it is, the fault and the fix."""
        return cls(message(f"The entry {entry!r} cannot be sent, because of its {option}", fault, fix=fix))


class UnknownEntry(FrameworkError):
    """No entry of the beat schedule has that name."""

    @classmethod
    def named(cls, name: str, known: Collection[str]) -> Self:
        """Say which name is unknown and which of the ``known`` ones is nearest."""
        fix = nearest(name, known, "`framework schedule list` shows them.")
        return cls(message(f"No entry of the beat schedule is called {name!r}", fix=fix))
