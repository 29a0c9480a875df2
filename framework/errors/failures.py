"""Errors of failed tasks."""

from collections.abc import Collection, Mapping
from typing import Self

from framework.errors.base import FrameworkError, message, nearest
from framework.errors.broker import BrokerError


class FailedTasksBusy(FrameworkError):
    """Another process reads the queue of failed tasks."""

    @classmethod
    def at(cls, queue: str) -> Self:
        """Name the queue."""
        return cls(
            message(
                f"Another `framework failed`, or some other reader of the queue {queue!r}, is at work",
                fix="Nothing was changed; retry when it is done.",
            )
        )


class FailedTasksUnread(BrokerError):
    """The broker has failed tasks and does not deliver them."""

    @classmethod
    def of(cls, queue: str, seconds: float) -> Self:
        """Name the queue and how long it was waited for."""
        return cls(
            message(
                f"The broker has more messages in the queue {queue!r} and sent none for {seconds:g} s",
                fix="The rest is still there; see the broker's log and retry.",
            )
        )


class UnknownFailure(FrameworkError):
    """No failed task has that id."""

    @classmethod
    def named(cls, ids: Collection[str], known: Collection[str]) -> Self:
        """Say which ids are unknown and which of the ``known`` ones is nearest to the first."""
        first = next(iter(ids))
        prefixed = [each for each in known if first and each.startswith(first)]
        fix = (
            f"Did you mean {prefixed[0]!r}?"
            if prefixed
            else nearest(first, known, "`framework failed list` shows them.")
        )
        return cls(message(f"No failed task has the id {', '.join(map(repr, ids))}", fix=fix))


class NotRetried(FrameworkError):
    """Failed tasks could not be sent again; they are still among the failed ones."""

    @classmethod
    def of(cls, refused: Mapping[str, str], sent: int) -> Self:
        """Say how many, and the cause of the first one.

        Args:
            refused: the cause for each id.
            sent: how many others were sent.
        """
        first, cause = next(iter(refused.items()))
        rest = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        return cls(
            message(
                f"The failed task {first}{rest} could not be sent again",
                cause,
                effect=f"It stays in `framework failed list`; {sent} other{'s were' if sent != 1 else ' was'} sent.",
            )
        )


class NotATransaction(FrameworkError, TypeError):
    """A database connection cannot keep an effect and its key together; nothing was written."""

    @classmethod
    def here(cls, fix: str) -> Self:
        """Say how a transaction is begun."""
        problem = "The connection commits every statement separately, so an effect and its key could be separated"
        return cls(message(f"{problem}; {fix}"))

    @classmethod
    def of(cls, kind: type) -> Self:
        """Name the class of the connection."""
        return cls(
            message(
                f"{kind.__module__}.{kind.__qualname__} is no connection that once() knows",
                "give it one of sqlite3 or psycopg, or SQLAlchemy's Connection or Session on SQLite or PostgreSQL",
            )
        )
