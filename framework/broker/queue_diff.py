"""Compares an existing queue with its declaration, without changing the broker.

AMQP reports a queue's arguments only by refusing others, one at a time: the queue is declared repeatedly, each time
with one more argument as the broker has it. This never creates a queue: each declaration has an argument that is
invalid for a new queue and is not compared for an existing one.
"""

import re
from ast import literal_eval
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from amqp.exceptions import NotFound, PreconditionFailed
from kombu import Queue

__all__ = ["Difference", "Refusal", "arguments_of", "differences"]


#: The broker's error for a queue or exchange that exists with another argument.
REFUSED = re.compile(
    r"inequivalent arg '(?P<argument>[^']+)' for (?P<kind>queue|exchange) '(?P<name>.*)' in vhost '.*': "
    r"received (?P<ours>.*) but current is (?P<theirs>.*)",
    re.DOTALL,
)

#: Invalid for a new queue. Quorum queues are not compared by the first, classic queues not by the second, and the
#: embedded broker does not compare the first.
TRAPS = {"x-queue-mode": "never", "x-delivery-limit": "never"}

FLAGS = ("durable", "auto_delete")


class Difference(NamedTuple):
    """An argument of a queue, as it is declared and as the broker has it; None where it is not set."""

    argument: str
    ours: Any
    theirs: Any


@dataclass(frozen=True)
class Refusal:
    """A refused declaration: of which ``kind`` (queue or exchange), which one, and what differs."""

    kind: str
    name: str
    difference: Difference

    @classmethod
    def from_error(cls, cause: BaseException) -> Self | None:
        """Return the refusal that an error of the broker states; None for another error."""
        found = REFUSED.search(str(cause)) if isinstance(cause, PreconditionFailed) else None
        if found is None:
            return None
        unset = "classic" if found["argument"] == "x-queue-type" else None
        ours, theirs = (_value(found[side], unset) for side in ("ours", "theirs"))
        return cls(found["kind"], found["name"], Difference(found["argument"], ours, theirs))


def arguments_of(queue: Queue, channel: Any) -> dict[str, Any]:
    """Return all arguments that a queue is declared with, including those that kombu has as attributes."""
    attributes = ("expires", "message_ttl", "max_length", "max_length_bytes", "max_priority")
    given = {name: getattr(queue, name) for name in attributes}
    return dict(channel.prepare_queue_arguments(queue.queue_arguments or {}, **given))


def differences(connection: Any, queue: Queue) -> list[Difference] | None:
    """Return every argument in which the existing queue of that name differs; None if there is no such queue.

    Args:
        connection: kombu's, open.
        queue: the queue as it is declared.

    Raises:
        amqp.exceptions.ResourceLocked: it is exclusive to another connection.
    """
    with connection.channel() as channel:
        wanted = {name: getattr(queue, name) for name in FLAGS} | arguments_of(queue, channel)
    requested = {**wanted, **TRAPS}
    found: list[Difference] = []
    while (refusal := _refusal(connection, queue.name, requested)) is not None:
        difference = refusal.difference
        if requested.get(difference.argument) == difference.theirs:
            break  # the broker refuses its own value: nothing more can be learned
        requested[difference.argument] = difference.theirs
        if wanted.get(difference.argument) != difference.theirs:
            found.append(Difference(difference.argument, wanted.get(difference.argument), difference.theirs))
    return found if refusal is not None or _exists(connection, queue.name) else None


def _refusal(connection: Any, name: str, requested: dict[str, Any]) -> Refusal | None:
    arguments = {key: value for key, value in requested.items() if key not in FLAGS and value is not None}
    flags = {flag: requested[flag] for flag in FLAGS}
    channel = connection.channel()
    try:
        channel.queue_declare(name, exclusive=False, arguments=arguments, **flags)
    except PreconditionFailed as exc:
        return Refusal.from_error(exc)
    channel.close()
    return None


def _exists(connection: Any, name: str) -> bool:
    channel = connection.channel()
    try:
        channel.queue_declare(name, passive=True)
    except NotFound:
        return False
    channel.close()
    return True


def _value(text: str, unset: object = None) -> Any:
    """Return a value that an error names; the error has its type only if the other one is not set.

    >>> from framework.broker.queue_diff import _value
    >>> _value("'quorum'"), _value("the value '5' of type 'signedint'"), _value("none")
    ('quorum', 5, None)
    """
    typed = re.fullmatch(r"the value '(.*)' of type '(.*)'", text, re.DOTALL)
    if typed and typed[2] in ("longstr", "shortstr"):
        return typed[1]
    bare = typed[1] if typed else text.removeprefix("'").removesuffix("'")
    if bare == "none":
        return unset
    try:
        return literal_eval(bare.capitalize() if bare in ("true", "false") else bare)
    except (SyntaxError, ValueError):
        return bare
