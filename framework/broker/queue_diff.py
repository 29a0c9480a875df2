"""What an existing queue has otherwise than it is declared with; asked of the broker without changing anything there.

AMQP tells of a queue's arguments only by refusing others, one at a time: so the queue is declared again and again,
each time with one argument more as the broker has it. A queue that does not exist is never made by that: each
declaration has an argument that no new queue may have and no existing one is compared by.
"""

import re
from ast import literal_eval
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from amqp.exceptions import NotFound, PreconditionFailed
from kombu import Queue

__all__ = ["Difference", "Refusal", "arguments_of", "differences"]


#: The broker's words when something exists and is declared otherwise.
REFUSED = re.compile(
    r"inequivalent arg '(?P<argument>[^']+)' for (?P<kind>queue|exchange) '(?P<name>.*)' in vhost '.*': "
    r"received (?P<ours>.*) but current is (?P<theirs>.*)",
    re.DOTALL,
)

#: No new queue may have these. Quorum queues are not compared by the first, classic ones not by the second, and the
#: embedded broker compares none by the first.
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
    def told_by(cls, cause: BaseException) -> Self | None:
        """What the broker's error says; None where it is about something else."""
        found = REFUSED.search(str(cause)) if isinstance(cause, PreconditionFailed) else None
        if found is None:
            return None
        unset = "classic" if found["argument"] == "x-queue-type" else None
        ours, theirs = (_value(found[side], unset) for side in ("ours", "theirs"))
        return cls(found["kind"], found["name"], Difference(found["argument"], ours, theirs))


def arguments_of(queue: Queue, channel: Any) -> dict[str, Any]:
    """All arguments that a queue is declared with, also those that kombu keeps in attributes."""
    attributes = ("expires", "message_ttl", "max_length", "max_length_bytes", "max_priority")
    given = {name: getattr(queue, name) for name in attributes}
    return dict(channel.prepare_queue_arguments(queue.queue_arguments or {}, **given))


def differences(connection: Any, queue: Queue) -> list[Difference] | None:
    """Every argument that the existing queue of that name has otherwise; None where there is no such queue.

    Args:
        connection: kombu's, open.
        queue: as it should be.

    Raises:
        amqp.exceptions.ResourceLocked: it is another connection's own.
    """
    with connection.channel() as channel:
        wanted = {name: getattr(queue, name) for name in FLAGS} | arguments_of(queue, channel)
    asked = {**wanted, **TRAPS}
    found: list[Difference] = []
    while (refusal := _refusal(connection, queue.name, asked)) is not None:
        difference = refusal.difference
        if asked.get(difference.argument) == difference.theirs:
            break  # the broker's words do not lead on
        asked[difference.argument] = difference.theirs
        if wanted.get(difference.argument) != difference.theirs:
            found.append(Difference(difference.argument, wanted.get(difference.argument), difference.theirs))
    return found if refusal is not None or _exists(connection, queue.name) else None


def _refusal(connection: Any, name: str, asked: dict[str, Any]) -> Refusal | None:
    arguments = {key: value for key, value in asked.items() if key not in FLAGS and value is not None}
    channel = connection.channel()
    try:
        channel.queue_declare(
            name, durable=asked["durable"], auto_delete=asked["auto_delete"], exclusive=False, arguments=arguments
        )
    except PreconditionFailed as exc:
        return Refusal.told_by(exc)
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
    """A value in the broker's words, which name its type only where the other one is not set.

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
