"""Redacts secrets: the values of arguments with certain names."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from inspect import Parameter, Signature
from typing import Any

__all__ = ["HIDDEN", "Redaction"]


HIDDEN = "***"

#: Shorter secrets are not redacted in free text, where they would match too much.
SHORTEST_SECRET = 4

_BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class Redaction:
    """Redacts the values of arguments by their names, at any depth, and then the same values in text.

    Args:
        patterns: names in the syntax of `fnmatch`, compared without regard to case.
    """

    def __init__(self, patterns: Collection[str]) -> None:
        self._patterns = [pattern.lower() for pattern in patterns]
        self._secrets: set[str] = set()

    def positional(self, args: Sequence[Any], takes: Signature | None) -> list[Any]:
        """Return redacted positional arguments; the signature, if known, has their names."""
        return [self._value(name, value) for name, value in zip(_names(takes, len(args)), args, strict=True)]

    def named(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return redacted keyword arguments."""
        return {name: self._value(name, value) for name, value in kwargs.items()}

    def text(self, text: str) -> str:
        """Return text without the secrets found in arguments so far."""
        if not self._secrets:
            return text
        longest_first = sorted(self._secrets, key=len, reverse=True)
        return re.sub("|".join(map(re.escape, longest_first)), HIDDEN, text)

    def _value(self, name: object, value: Any) -> Any:
        if any(fnmatchcase(str(name).lower(), pattern) for pattern in self._patterns):
            self._secrets.update(text for text in _texts(value) if len(text) >= SHORTEST_SECRET)
            return HIDDEN
        if isinstance(value, Mapping):
            return self.named(value)
        if isinstance(value, list | tuple):
            return [self._value("", each) for each in value]
        return value


def _names(takes: Signature | None, count: int) -> list[str]:
    parameters = list(takes.parameters.values()) if takes else []
    names = [parameter.name for parameter in parameters if parameter.kind in _BY_POSITION]
    rest = next((parameter.name for parameter in parameters if parameter.kind is Parameter.VAR_POSITIONAL), "")
    return (names + [rest] * count)[:count]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value)
