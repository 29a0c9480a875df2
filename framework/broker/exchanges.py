"""Declaring and deleting exchanges, refused as RabbitMQ refuses."""

import json
from collections.abc import Mapping
from typing import Any

from amqp.exceptions import InvalidCommand

from framework.broker import refusals
from framework.broker.declared import Exchange
from framework.broker.store import Transaction
from framework.broker.topology import Topology, changed

__all__ = ["TYPES", "declare_exchange", "delete_exchange"]

#: The kinds of exchanges that there are.
TYPES = ("direct", "topic", "fanout")


def declare_exchange(
    work: Transaction, topology: Topology, name: str, kind: str, flags: Mapping[str, bool], arguments: Mapping[str, Any]
) -> None:
    """Create an exchange with ``flags`` (durable, auto_delete, internal), or check the one that exists.

    Raises:
        amqp.exceptions.PreconditionFailed: it exists and is another.
        amqp.exceptions.InvalidCommand: there is no such type.
        amqp.exceptions.AccessRefused: its name is one of the broker's.
    """
    existing = topology.exchange(work, name)
    if existing is not None:
        _compare(existing, kind, flags, arguments)
        return
    if kind not in TYPES:
        raise InvalidCommand(f"COMMAND_INVALID - exchange type {kind!r} is not one of {TYPES}", reply_code=503)
    if name.startswith("amq."):
        raise refusals.access_refused(f"exchange name {name!r} contains reserved prefix 'amq.*'")
    work.execute(
        "insert into exchange values (?, ?, ?, ?, ?, ?)",
        (
            name,
            kind,
            bool(flags["durable"]),
            bool(flags["auto_delete"]),
            bool(flags["internal"]),
            json.dumps(dict(arguments)),
        ),
    )
    changed(work)


def _compare(existing: Exchange, kind: str, flags: Mapping[str, bool], arguments: Mapping[str, Any]) -> None:
    if kind != existing.type:
        raise refusals.inequivalent("type", "exchange", existing.name, kind, existing.type)
    for flag, wanted in flags.items():
        if bool(wanted) != getattr(existing, flag):
            raise refusals.inequivalent(flag, "exchange", existing.name, wanted, getattr(existing, flag))
    alternate = arguments.get("alternate-exchange")
    if alternate != existing.alternate:
        raise refusals.inequivalent("alternate-exchange", "exchange", existing.name, alternate, existing.alternate)


def delete_exchange(work: Transaction, topology: Topology, name: str, *, if_unused: bool) -> None:
    """Delete an exchange and its bindings; no error when there is none.

    Raises:
        amqp.exceptions.PreconditionFailed: it has bindings, and that was to be respected.
        amqp.exceptions.AccessRefused: it is one of the broker's.
    """
    if topology.exchange(work, name) is None:
        return
    if name == "" or name.startswith("amq."):
        raise refusals.access_refused(f"exchange {name!r} cannot be deleted")
    if if_unused and work.value("select 1 from binding where source = ?", name):
        raise refusals.invalid(f"exchange {name!r} in vhost '/' in use")
    work.execute("delete from exchange where name = ?", (name,))
    work.execute("delete from binding where source = ?1 or (destination = ?1 and not is_queue)", (name,))
    changed(work)
