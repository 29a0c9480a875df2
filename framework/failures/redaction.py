"""Redacts secrets: values whose names say that they are secret are hidden from people."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from inspect import Parameter, Signature
from typing import Any

__all__ = ["HIDDEN", "Redaction"]


HIDDEN = "***"

#: Shorter secrets are not looked for in free text: they would blot out half of it.
SHORTEST = 4

_BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class Redaction:
    """Hides the values of arguments by their names, at any depth, and remembers them to hide them in text too.

    Args:
        patterns: names as `fnmatch` understands them, compared without regard to case.
    """

    def __init__(self, patterns: Collection[str]) -> None:
        self._patterns = [pattern.lower() for pattern in patterns]
        self._secrets: set[str] = set()

    def positional(self, args: Sequence[Any], takes: Signature | None) -> list[Any]:
        """Positional arguments; their names are those of the signature, where it is known."""
        return [self._value(name, value) for name, value in zip(_names(takes, len(args)), args, strict=True)]

    def named(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Keyword arguments."""
        return {name: self._value(name, value) for name, value in kwargs.items()}

    def text(self, text: str) -> str:
        """Text, without the secrets that arguments had."""
        if not self._secrets:
            return text
        longest_first = sorted(self._secrets, key=len, reverse=True)
        return re.sub("|".join(map(re.escape, longest_first)), HIDDEN, text)

    def _value(self, name: object, value: Any) -> Any:
        if any(fnmatchcase(str(name).lower(), pattern) for pattern in self._patterns):
            self._secrets.update(text for text in _texts(value) if len(text) >= SHORTEST)
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
