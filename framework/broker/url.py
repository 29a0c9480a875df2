"""Broker URLs: without passwords, and of supported brokers."""

from collections.abc import Iterable

from kombu.utils.url import maybe_sanitize_url

from framework.errors import UnsupportedBroker

__all__ = ["check_supported", "sanitized"]

#: The transports that are supported; ``memory`` is kombu's own for tests that need no broker.
SUPPORTED = ("amqp", "amqps", "pyamqp", "sqlite", "memory")


def sanitized(urls: str | Iterable[str]) -> str:
    """Return the URLs of a broker, those of a cluster separated by ``;``, each without its password.

    >>> sanitized("amqp://guest:secret@one//;amqp://guest:secret@two//")
    'amqp://guest:**@one//;amqp://guest:**@two//'
    >>> sanitized("sqlite:///broker.db")
    'sqlite:///broker.db'
    """
    each = urls.split(";") if isinstance(urls, str) else urls
    return ";".join(maybe_sanitize_url(url) for url in each)


def check_supported(urls: str | Iterable[str] | None) -> None:
    """Refuse the URLs of a broker that the framework does not support.

    Raises:
        UnsupportedBroker: one has another transport; the message has its name alone.
    """
    for url in urls.split(";") if isinstance(urls, str) else urls or ():
        transport, found, _ = url.partition("://")
        if found and transport not in SUPPORTED:
            raise UnsupportedBroker.named(transport)
