"""Versions of RabbitMQ with faults that matter to the queues of the framework."""

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["faults_of"]

Version = tuple[int, int, int]
ISSUES = "https://github.com/rabbitmq/rabbitmq-server/issues/"


class Fault(NamedTuple):
    """What a version does wrong, from ``first`` until ``fixed``."""

    first: Version
    fixed: Version
    effect: str
    url: str


FAULTS = [
    Fault((3, 13, 0), (3, 13, 3), "it can drop a message that is dead-lettered twice", f"{ISSUES}11159"),
    Fault(
        (4, 0, 0), (4, 0, 5), "dead-lettering a message from before an upgrade can crash its queue", f"{ISSUES}12933"
    ),
    Fault((4, 2, 0), (4, 3, 3), "in a cluster whose members change, a task queue can stop for good", f"{ISSUES}16652"),
    Fault((4, 3, 0), (4, 3, 3), "a leader can confirm a message too early", "https://github.com/rabbitmq/ra/pull/637"),
    Fault((4, 3, 0), (4, 3, 5), "a queue can be incomplete after a restart", f"{ISSUES}17012"),
]


def faults_of(version: str) -> Iterator[str]:
    """Yield a sentence for each fault of a version of RabbitMQ, such as "4.3.2"."""
    numbers = tuple(int(part) for part in version.split(".") if part.isdigit())
    for fault in FAULTS:
        if fault.first <= numbers < fault.fixed:
            fixed = ".".join(map(str, fault.fixed))
            yield f"RabbitMQ {version} has a fault that {fixed} has not: {fault.effect} ({fault.url})."
