"""Errors of ``framework.testing``."""

from collections.abc import Iterable
from typing import Self

from framework.errors.base import FrameworkError, message


class RabbitMQMissing(FrameworkError):
    """There is no RabbitMQ to test with."""

    @classmethod
    def here(cls) -> Self:
        """Say how to get one."""
        return cls(
            message(
                "RabbitMQ is not installed",
                fix="Install it (`sudo apt-get install rabbitmq-server`, `brew install rabbitmq`), or set RABBITMQ_URL "
                "to a server that tests may use (it needs the management plugin).",
            )
        )

    @classmethod
    def of(cls, release: str, cause: str) -> Self:
        """Name the release, why it is not here, and how to get it."""
        return cls(
            message(
                f"RabbitMQ {release} is not here to test with",
                cause,
                fix=f"On Debian or Ubuntu, `python -m framework.testing.rabbitmq install {release}` downloads it; "
                "elsewhere, set RABBITMQ_URL to a server of that release.",
            )
        )

    @classmethod
    def named(cls, release: str, known: Iterable[str]) -> Self:
        """Name a release that cannot be downloaded, and those that can."""
        return cls(message(f"RabbitMQ {release} cannot be downloaded", fix=f"The releases are {', '.join(known)}."))


class DebianUnreachable(RabbitMQMissing):
    """Debian's mirror does not answer, so a release of RabbitMQ cannot be downloaded."""


class RabbitMQFailed(FrameworkError):
    """The private node did not start, or a command of it failed."""

    @classmethod
    def at(cls, failure: str, output: str) -> Self:
        """Name the failure and quote the server's output: its first errors, or else its last lines."""
        lines = [line for line in output.splitlines() if line.strip()]
        errors = [line.partition("[error]")[2] for line in lines if "[error]" in line]
        return cls("\n    ".join([message(failure, fix="It said:"), *(errors[:10] or lines[-10:])]))


class ExternalRabbitMQUnusable(FrameworkError):
    """The server that RABBITMQ_URL names cannot be used for tests."""

    @classmethod
    def at(cls, management: str, cause: object) -> Self:
        """Name the management address, the cause and the fix."""
        return cls(
            message(
                "RABBITMQ_URL names a server on which tests make no virtual hosts",
                f"{management} says {cause}",
                fix="Enable its management plugin (`rabbitmq-plugins enable rabbitmq_management`), use an "
                "administrator's login, and set RABBITMQ_MANAGEMENT_URL if it is not on port 15672; or unset "
                "RABBITMQ_URL.",
            )
        )


class BrowserMissing(FrameworkError):
    """There is no browser to test with."""

    @classmethod
    def here(cls) -> Self:
        """Say how to get one."""
        return cls(
            message("Chromium is not installed", fix="Install it: sudo apt-get install chromium chromium-driver")
        )
