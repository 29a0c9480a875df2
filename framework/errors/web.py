"""Errors of the live updates in a browser."""

from typing import Self

from framework.errors.base import FrameworkError, message
from framework.errors.broker import BrokerError


class NoSocket(FrameworkError):
    """A socket cannot be opened here; the page polls the state every few seconds instead."""

    def __init__(self, message: str, status: int = 503) -> None:
        super().__init__(message)
        #: The status code of HTTP.
        self.status = status

    @classmethod
    def under(cls, server: str) -> Self:
        """Name the server."""
        return cls(
            message(
                f"{server} gives no access to its connections, so there are no WebSockets",
                fix="gunicorn and Flask's own server do, unless they serve TLS; anywhere else the page polls every "
                "few seconds.",
            )
        )

    @classmethod
    def for_request(cls, cause: Exception) -> Self:
        """Name the fault of the request."""
        return cls(message("This is no request for a WebSocket", cause), 400)

    @classmethod
    def above(cls, most: int) -> Self:
        """Say how many a process may have open."""
        return cls(
            message(
                f"This process has {most} sockets open, and no more",
                fix="The page polls every few seconds instead.",
            )
        )

    @classmethod
    def of_visitor(cls, most: int) -> Self:
        """Say how many of one visitor a process may have open."""
        return cls(
            message(
                f"This process has {most} sockets of one visitor open, and no more",
                fix="The page polls every few seconds instead.",
            )
        )


class BadTaskToken(FrameworkError):
    """A token is not ours, or another visitor's; HTTP's answer is 403."""

    @classmethod
    def here(cls) -> Self:
        """Say no more: neither its fault, nor whether there is such a task."""
        fix = "Open the page that started it again."
        return cls(message("This task cannot be watched with this address", fix=fix))


class ExpiredTaskToken(FrameworkError):
    """A token was good once; HTTP's answer is 410."""

    @classmethod
    def after(cls, seconds: int) -> Self:
        """Say for how long it was valid."""
        fix = "Load the page again for a new one."
        return cls(message(f"This address was good for {seconds} s and is no longer", fix=fix))


class MissingSecret(FrameworkError):
    """There is nothing to sign tokens with."""

    @classmethod
    def here(cls) -> Self:
        """Say where it is set."""
        return cls(
            message(
                "Tokens of tasks cannot be signed without a secret",
                fix="Set SECRET_KEY to the same long random text in every process: "
                'python -c "import secrets; print(secrets.token_urlsafe(32))"',
            )
        )


class BrokerAway(BrokerError):
    """The broker did not answer the last request, and is not sent the next one yet."""

    @classmethod
    def for_now(cls, seconds: float) -> Self:
        """Say within how many ``seconds`` it is."""
        return cls(
            message("The broker did not answer the last request", fix=f"The next one follows within {seconds} s.")
        )
