"""Errors of brokers and queues."""

from collections.abc import Collection, Iterable
from typing import Self

from kombu.exceptions import OperationalError

from framework.errors.base import FrameworkError, as_argument, listed


class BrokerError(FrameworkError, OperationalError):
    """The broker could not do what was asked; caught also by ``except kombu.exceptions.OperationalError``."""


class BrokerUnreachable(BrokerError):
    """The configured broker does not answer; nothing was queued."""

    @classmethod
    def at(cls, url: str, cause: BaseException) -> Self:
        """Name the broker by its ``url`` (already without password), the cause, and both ways out."""
        return cls(
            f"The broker {url} cannot be used: {cause or type(cause).__name__}. Nothing was queued. "
            "Start it (`sudo rabbitmq-server`), or set CELERY_BROKER_URL to one that runs; on a laptop, "
            "`framework up` and CELERY_BROKER_URL=sqlite:///broker.db need no server."
        )


class NotConfirmed(BrokerUnreachable):
    """The task was sent, and the broker did not say that it has it: it may be queued, or not."""

    @classmethod
    def by(cls, url: str, cause: BaseException, task_id: str) -> Self:
        """Name the broker by its ``url`` (already without password), the cause, and the id to call again with."""
        return cls(
            f"The broker {url} was sent the task and did not confirm it: {cause or type(cause).__name__}. It may have "
            f"been queued, with the id {task_id}. Calling again with task_id={task_id!r} loses nothing; if both "
            "arrive, it runs twice with that one id."
        )


class QueueMismatch(BrokerError):
    """A queue or an exchange exists with other arguments than it is declared with; nothing was queued."""

    @classmethod
    def of(cls, thing: str, url: str, differing: Iterable[tuple[str, object, object]], cure: str) -> Self:
        """Name it, the broker by its ``url`` (already without password), and each argument: its name, ours, theirs."""
        told = "; ".join(
            f"{name} is {as_argument(theirs)} there and {as_argument(ours)} here" for name, ours, theirs in differing
        )
        return cls(
            f"The {thing} of the broker {url} exists with other arguments: {told}. No broker changes them, and until "
            f"they agree nothing is queued there. {cure}"
        )


class QueueInUse(BrokerError):
    """A queue cannot be made anew while somebody works on it; nothing was lost, and what was moved is kept."""

    @classmethod
    def named(cls, name: str, by: str) -> Self:
        """Name the queue and who uses it."""
        return cls(
            f"The queue {name!r} is in use by {by}. Stop workers and callers, then run this again: it goes on where "
            "it ended, and nothing is lost."
        )


class UnknownQueue(FrameworkError):
    """The application has no queue of that name."""

    @classmethod
    def named(cls, name: str, known: Collection[str]) -> Self:
        """Say which name is unknown, and which ones there are."""
        return cls(f"No queue of this application is called {name!r}. There are: {listed(known)}.")


class BrokerFileRefused(BrokerError):
    """What ``sqlite:///`` names cannot be an embedded broker; it was left as it was, and trying again will not help."""


class BrokerFileUnavailable(BrokerError):
    """The embedded broker's file cannot be used right now; nothing was queued, nothing was lost. Try again later."""


class BrokerRefused(BrokerError):
    """The configured broker answers and refuses the login or the virtual host; nothing was queued."""

    @classmethod
    def by(cls, url: str, cause: BaseException) -> Self:
        """Name the broker by its ``url`` (already without password), and what it said."""
        return cls(
            f"The broker {url} refuses the connection: {cause}. Nothing was queued. "
            "Check user, password and virtual host in broker_url or CELERY_BROKER_URL."
        )


class BrokerNotReady(BrokerError):
    """The services cannot be started: their broker cannot be used."""

    @classmethod
    def at(cls, url: str, cause: object, cure: str) -> Self:
        """Name the broker by its ``url`` (already without password), the cause and the cure."""
        return cls(f"The broker {url} cannot be used: {cause}. {cure}")
