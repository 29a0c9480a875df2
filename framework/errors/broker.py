"""Errors of brokers and queues."""

from collections.abc import Collection, Iterable
from typing import Self

from kombu.exceptions import OperationalError

from framework.errors.base import FrameworkError, as_argument, listed, message


class BrokerError(FrameworkError, OperationalError):
    """The broker could not do what was requested; caught also by ``except kombu.exceptions.OperationalError``."""


class BrokerUnreachable(BrokerError):
    """The configured broker does not answer; nothing was queued."""

    @classmethod
    def at(cls, url: str, cause: BaseException) -> Self:
        """Name the broker by its ``url`` (already without password), the cause, and both ways out."""
        return cls(
            message(
                f"The broker {url} cannot be used",
                cause,
                effect="Nothing was queued.",
                fix="Start it (`sudo rabbitmq-server`), or set CELERY_BROKER_URL to one that runs; on a laptop, "
                "`framework up` and CELERY_BROKER_URL=sqlite:///broker.db need no server.",
            )
        )


class NotConfirmed(BrokerUnreachable):
    """The task was sent, and the broker did not say that it has it: it may be queued, or not."""

    @classmethod
    def by(cls, url: str, cause: BaseException, task_id: str) -> Self:
        """Name the broker by its ``url`` (already without password), the cause, and the id to call again with."""
        return cls(
            message(
                f"The broker {url} was sent the task and did not confirm it",
                cause,
                effect=f"It may have been queued, with the id {task_id}.",
                fix=f"Calling again with task_id={task_id!r} loses nothing; if both arrive, it runs twice with that "
                "one id.",
            )
        )


class QueueMismatch(BrokerError):
    """A queue or an exchange exists with other arguments than it is declared with; nothing was queued."""

    @classmethod
    def of(cls, thing: str, url: str, differing: Iterable[tuple[str, object, object]], fix: str) -> Self:
        """Name it, the broker by its ``url`` (already without password), and each argument: its name, ours, theirs."""
        arguments = [
            f"{name} is {as_argument(theirs)} there and {as_argument(ours)} here" for name, ours, theirs in differing
        ]
        return cls(
            message(
                f"The {thing} of the broker {url} exists with other arguments",
                "; ".join(arguments),
                effect="No broker changes them, and until they agree nothing is queued there.",
                fix=fix,
            )
        )


class QueueInUse(BrokerError):
    """A queue cannot be replaced while a worker or caller uses it; nothing was lost, and moved messages are safe."""

    @classmethod
    def named(cls, name: str, by: str) -> Self:
        """Name the queue and who uses it."""
        return cls(
            message(
                f"The queue {name!r} is in use by {by}",
                fix="Stop workers and callers, then run this again: it continues where it ended, and nothing is lost.",
            )
        )


class UnknownQueue(FrameworkError):
    """The application has no queue of that name."""

    @classmethod
    def named(cls, name: str, known: Collection[str]) -> Self:
        """Say which name is unknown, and which ones there are."""
        return cls(message(f"No queue of this application is called {name!r}", fix=f"There are: {listed(known)}."))


class BrokerFileRefused(BrokerError):
    """The file that ``sqlite:///`` names cannot be an embedded broker; it is unchanged, and a retry does not help."""


class BrokerFileUnavailable(BrokerError):
    """The embedded broker's file cannot be used right now; nothing was queued, nothing was lost. Retry later."""


class BrokerRefused(BrokerError):
    """The configured broker answers and refuses the login or the virtual host; nothing was queued."""

    @classmethod
    def by(cls, url: str, cause: BaseException) -> Self:
        """Name the broker by its ``url`` (already without password), and its answer."""
        return cls(
            message(
                f"The broker {url} refuses the connection",
                cause,
                effect="Nothing was queued.",
                fix="Check user, password and virtual host in broker_url or CELERY_BROKER_URL.",
            )
        )


class MessageRefused(BrokerError):
    """The broker refused a message, in time and finally; nothing was queued."""

    @classmethod
    def by(cls, url: str) -> Self:
        """Name the broker by its ``url`` (already without password), the two causes and what helps."""
        return cls(
            message(
                f"The broker {url} refused the message",
                "its queue is full (x-max-length), or has no leader yet, as just after it was made or lost a node",
                effect="Nothing was queued.",
                fix="Have workers drain a full queue, or give it more room; retry where the leader is missing.",
            )
        )


class UnsupportedBroker(BrokerError):
    """The broker's URL names a transport without the guarantees that the framework needs."""

    @classmethod
    def named(cls, transport: str) -> Self:
        """Name the transport, and those that are supported."""
        return cls(
            message(
                f"The broker {transport!r} is not supported",
                "it has no confirmed publishes, dead letters and limited queues, so tasks would be lost",
                effect="Nothing was queued or started.",
                fix="Set broker_url or CELERY_BROKER_URL to amqp://... (RabbitMQ) or sqlite:///broker.db (no server).",
            )
        )


class BrokerNotReady(BrokerError):
    """The services cannot be started: their broker cannot be used."""

    @classmethod
    def at(cls, url: str, cause: object, fix: str) -> Self:
        """Name the broker by its ``url`` (already without password), the cause and the fix."""
        return cls(message(f"The broker {url} cannot be used", cause, fix=fix))
