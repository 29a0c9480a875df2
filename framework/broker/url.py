"""Broker URLs without passwords."""

from collections.abc import Iterable

from kombu.utils.url import maybe_sanitize_url

__all__ = ["sanitized"]


def sanitized(urls: str | Iterable[str]) -> str:
    """Return the URLs of a broker, those of a cluster separated by ``;``, each without its password.

    >>> sanitized("amqp://guest:secret@one//;amqp://guest:secret@two//")
    'amqp://guest:**@one//;amqp://guest:**@two//'
    >>> sanitized("sqlite:///broker.db")
    'sqlite:///broker.db'
    """
    each = urls.split(";") if isinstance(urls, str) else urls
    return ";".join(maybe_sanitize_url(url) for url in each)
