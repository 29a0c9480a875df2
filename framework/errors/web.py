"""Errors of the live updates in a browser."""

from typing import Self

from framework.errors.base import FrameworkError
from framework.errors.broker import BrokerError

__all__ = ["BadTaskToken", "BrokerAway", "ExpiredTaskToken", "MissingSecret", "NoSocket"]


class NoSocket(FrameworkError):
    """A socket cannot be opened here; whoever asked can ask for the state every few seconds instead."""

    def __init__(self, message: str, status: int = 503) -> None:
        super().__init__(message)
        #: What HTTP calls it.
        self.status = status

    @classmethod
    def under(cls, server: str) -> Self:
        """Name the server."""
        return cls(
            f"{server} does not hand over its connections, so there are no WebSockets. gunicorn and Flask's own "
            "server do, without TLS of their own; anywhere else the page asks every few seconds."
        )

    @classmethod
    def malformed(cls, cause: Exception) -> Self:
        """Say what is wrong with the request."""
        return cls(f"This is no request for a WebSocket: {cause}.", 400)

    @classmethod
    def full(cls, most: int) -> Self:
        """Say how many there are."""
        return cls(f"This process has {most} sockets open, and no more. The page asks every few seconds instead.")


class BadTaskToken(FrameworkError):
    """A token is not ours, or another visitor's; HTTP's answer is 403."""

    @classmethod
    def refused(cls) -> Self:
        """Say so, and nothing of what is wrong with it or whether there is such a task."""
        return cls("This task cannot be watched with this address. Open the page that started it again.")


class ExpiredTaskToken(FrameworkError):
    """A token was good once; HTTP's answer is 410."""

    @classmethod
    def after(cls, seconds: int) -> Self:
        """Say how long it was."""
        return cls(f"This address was good for {seconds} s and is no longer. Load the page again for a new one.")


class MissingSecret(FrameworkError):
    """There is nothing to sign tokens with."""

    @classmethod
    def here(cls) -> Self:
        """Say where it is set."""
        return cls(
            "Tokens of tasks cannot be signed without a secret. Set SECRET_KEY to the same long random text in "
            'every process: python -c "import secrets; print(secrets.token_urlsafe(32))"'
        )


class BrokerAway(BrokerError):
    """The broker was away a moment ago, and is not asked again yet."""

    @classmethod
    def still(cls, seconds: float) -> Self:
        """Say after how many ``seconds`` it is."""
        return cls(f"The broker did not answer a moment ago. It is asked again every {seconds} s.")
