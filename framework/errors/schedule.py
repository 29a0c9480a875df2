"""Errors of the beat schedule."""

from collections.abc import Collection
from difflib import get_close_matches
from typing import Self

from framework.errors.base import FrameworkError


class BadSchedule(FrameworkError, ValueError):
    """What an entry's ``schedule`` says cannot be followed."""

    @classmethod
    def of(cls, schedule: object, fault: str, cure: str) -> Self:
        """Say which schedule, what is wrong with it, and what would be right."""
        return cls(f"The schedule {schedule!r} cannot be followed: {fault}. {cure}")

    @classmethod
    def in_entry(cls, entry: str, cause: "BadSchedule") -> Self:
        """Say which entry it stands in."""
        return cls(f"The entry {entry!r}: {cause.message}")


class BadEntries(FrameworkError, ValueError):
    """Entries of the beat schedule cannot be scheduled; nothing was started."""

    @classmethod
    def of(cls, faults: Collection[str]) -> Self:
        """Say what is wrong with each."""
        return cls("\n".join(["The beat schedule cannot be followed, so nothing was started.", *faults]))


class UnknownEntry(FrameworkError):
    """No entry of the beat schedule has that name."""

    @classmethod
    def named(cls, name: str, known: Collection[str]) -> Self:
        """Say which name is unknown and which of the ``known`` ones is nearest."""
        close = get_close_matches(name, known, n=1)
        cure = f"Did you mean {close[0]!r}?" if close else "`framework schedule list` shows them."
        return cls(f"No entry of the beat schedule is called {name!r}. {cure}")
