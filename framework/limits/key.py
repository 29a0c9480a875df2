"""The key of a rate limit or a unique task: an argument of a call, as text."""

import hashlib
import ipaddress
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from framework.errors import BadKey

__all__ = ["digest", "normalize", "value_of"]


#: Bits of an IPv6 address that name its network: one visitor has any number of addresses in it.
NETWORK_BITS = 64


def normalize(value: Any) -> str:
    """Return a key as text: the same for every way to write it, and one for an IPv6 network.

    >>> normalize("::ffff:192.0.2.7"), normalize("2001:db8:1:2:3:4:5:6")
    ('192.0.2.7', '2001:db8:1:2::/64')

    Raises:
        BadKey: it is None or empty, or of another type than text, number, UUID, address or a tuple of them.
    """
    if value is None or value == "":
        raise BadKey.of(value, "there is none")
    if isinstance(value, str):
        return _network(value)
    if isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address):
        return _network(str(value))
    if isinstance(value, bool | int | UUID):
        return f"{type(value).__name__}:{value!s}"
    if isinstance(value, tuple | list):
        return "\0".join(["", *map(normalize, value)])
    raise BadKey.of(value, "it is no text, number, UUID, or tuple of such")


def value_of(key: str | Callable[[Mapping[str, Any]], Any], task: str, bound: Mapping[str, Any]) -> Any:
    """Return the value of a key in the arguments of a call.

    Raises:
        BadKey: the call has no such argument, or it is None.
    """
    value = key(bound) if callable(key) else bound.get(key)
    if value is None:
        raise BadKey.in_call(key if isinstance(key, str) else getattr(key, "__name__", repr(key)), task)
    return value


def digest(*parts: str) -> str:
    """Return a name for the broker from which the parts cannot be read."""
    return hashlib.blake2b("\0".join(parts).encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _network(text: str) -> str:
    """Return an IPv6 address as its network, anything else as it is."""
    if not text.isascii() or not (":" in text or "." in text) or len(text) > 64:
        return text
    try:
        address = ipaddress.ip_address(text.partition("%")[0].strip("[]"))
    except ValueError:
        return text
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((int(address), NETWORK_BITS), strict=False))
        address = address.ipv4_mapped
    return str(address)
