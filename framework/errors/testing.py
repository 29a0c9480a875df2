"""Errors of ``framework.testing``."""

from typing import TYPE_CHECKING, Self

from framework.errors.base import FrameworkError

if TYPE_CHECKING:
    pass

__all__ = ["BrowserMissing"]


class RabbitMQMissing(FrameworkError):
    """There is no RabbitMQ to test with."""

    @classmethod
    def here(cls) -> Self:
        """Say how to get one."""
        return cls(
            "RabbitMQ is not installed. Install it (`sudo apt-get install rabbitmq-server`, `brew install rabbitmq`), "
            "or set RABBITMQ_URL to a server that tests may use (it needs the management plugin)."
        )


class RabbitMQFailed(FrameworkError):
    """The private node did not start, or did not do as told."""

    @classmethod
    def because(cls, what: str, said: str) -> Self:
        """Say what failed and show what the server wrote about it: its first errors, or else its last lines."""
        lines = [line for line in said.splitlines() if line.strip()]
        errors = [line.partition("[error]")[2] for line in lines if "[error]" in line]
        return cls("\n    ".join([f"{what}. It said:", *(errors[:10] or lines[-10:])]))


class ExternalRabbitMQUnusable(FrameworkError):
    """The server that RABBITMQ_URL names cannot be used for tests."""

    @classmethod
    def because(cls, management: str, cause: object) -> Self:
        """Name the management address, the cause and the cure."""
        return cls(
            f"RABBITMQ_URL names a server on which tests make no virtual hosts: {management} says {cause}. "
            "Enable its management plugin (`rabbitmq-plugins enable rabbitmq_management`), use an administrator's "
            "login, and set RABBITMQ_MANAGEMENT_URL if it is not on port 15672; or unset RABBITMQ_URL."
        )


class BrowserMissing(FrameworkError):
    """There is no browser to test with."""

    @classmethod
    def here(cls) -> Self:
        """Say how to get one."""
        return cls("Chromium is not installed. Install it: sudo apt-get install chromium chromium-driver")
