"""The key of a rate limit or a unique task: an argument of a call, as text."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from uuid import UUID

from framework.errors import BadKey

__all__ = ["digest", "normalize", "value_of"]


#: Bits of an IPv6 address that name its network: one visitor has any number of addresses in it.
NETWORK_BITS = 64


def normalize(value: Any, *, address: bool = False) -> str:
    """Return a key as text: two keys have one text only if they are one key.

    >>> normalize("5"), normalize(5), normalize(("a", 5))
    ('str:5', 'int:5', 'tuple:5:str:a5:int:5')

    Args:
        value: The key.
        address: Whether it is the address of a visitor: all addresses of an IPv6 network are one key, and so are an
            IPv4 address and the same inside of IPv6.

    Raises:
        BadKey: it is None or empty, or of another type than text, number, UUID, address, network or a tuple of them;
            or it should be an address and is none.
    """
    if value is None or value == "":
        raise BadKey.of(value, "there is none")
    if address:
        return f"address:{_visitor(value)}"
    if isinstance(value, str):
        return f"str:{str.__str__(value)}"
    if isinstance(value, bool):
        return f"bool:{value}"
    if isinstance(value, int):
        return f"int:{int(value)}"
    if isinstance(value, UUID | IPv4Address | IPv6Address | IPv4Network | IPv6Network):
        return f"{type(value).__name__}:{value}"
    if isinstance(value, tuple | list):
        return f"tuple:{_joined(map(normalize, value))}"
    raise BadKey.of(value, "it is no text, number, UUID, address, or tuple of such")


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
    """Return a name for the broker from which the parts cannot be read; other parts have another name."""
    return hashlib.blake2b(_joined(parts).encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _joined(parts: Iterable[str]) -> str:
    """Return parts as one text, each after its length: no other parts have the same text."""
    return "".join(f"{len(part)}:{part}" for part in parts)


def _visitor(value: Any) -> str:
    """Return the address of a visitor, or its network where that is IPv6."""
    if not isinstance(value, str | IPv4Address | IPv6Address):
        raise BadKey.of(value, "it is no IP address")
    try:
        found = ip_address(str(value).partition("%")[0].strip("[]"))
    except ValueError:
        raise BadKey.of(value, "it is no IP address") from None
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is None:
            return str(ip_network((int(found), NETWORK_BITS), strict=False))
        found = found.ipv4_mapped
    return str(found)
