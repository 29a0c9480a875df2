"""Exchanges, queues and bindings: declared and deleted, with RabbitMQ's refusals."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from amqp.exceptions import InvalidCommand

from framework.broker.sqlite import amqp_errors
from framework.broker.sqlite.arguments import check_equivalent, validated
from framework.broker.sqlite.database import Transaction
from framework.broker.sqlite.entities import Exchange, Queue
from framework.broker.sqlite.messages import length
from framework.broker.sqlite.routing import Topology, mark_changed

__all__ = [
    "TYPES",
    "bind",
    "declare_exchange",
    "declare_queue",
    "delete_exchange",
    "delete_queue",
    "drop_queue",
    "restart_expiry",
    "unbind",
    "usable_queue",
]


def usable_queue(work: Transaction, topology: Topology, name: str, owner: int | None) -> Queue:
    """The queue called ``name``, to be used by the connection ``owner``.

    Raises:
        amqp.exceptions.NotFound: there is none.
        amqp.exceptions.ResourceLocked: it is another connection's own.
    """
    queue = topology.queue(work, name)
    if queue is None:
        raise amqp_errors.not_found("queue", name)
    if queue.owner is not None and queue.owner != owner:
        raise amqp_errors.locked(name)
    return queue


def declare_queue(
    work: Transaction,
    topology: Topology,
    name: str,
    flags: Mapping[str, bool],
    arguments: Mapping[str, Any],
    owner: int | None,
) -> Queue:
    """The queue of that name, ``flags`` (durable, exclusive, auto_delete) and arguments; created when there is none.

    Raises:
        amqp.exceptions.PreconditionFailed: it exists and is another, or an argument cannot be.
        amqp.exceptions.ResourceLocked: it is another connection's own.
        amqp.exceptions.AccessRefused: its name is one of the broker's.
    """
    name = name or f"amq.gen-{uuid4().hex}"
    if topology.queue(work, name) is None:
        _create(work, name, flags, validated(name, flags, arguments), owner)
        topology.refresh(work)
    queue = usable_queue(work, topology, name, owner)
    if flags["exclusive"] and not queue.exclusive:
        raise amqp_errors.locked(name)
    for flag, wanted in flags.items():
        if bool(wanted) != getattr(queue, flag):
            raise amqp_errors.inequivalent(flag, "queue", name, wanted, getattr(queue, flag))
    check_equivalent(name, arguments, queue.arguments)
    restart_expiry(work, queue)
    return queue


def _create(
    work: Transaction, name: str, flags: Mapping[str, bool], arguments: Mapping[str, Any], owner: int | None
) -> None:
    if name.startswith("amq.") and not name.startswith("amq.gen-"):
        raise amqp_errors.access_refused(f"queue name {name!r} contains reserved prefix 'amq.*'")
    work.execute(
        "insert into queue (name, durable, exclusive, auto_delete, arguments, owner) values (?, ?, ?, ?, ?, ?)",
        (
            name,
            bool(flags["durable"]),
            bool(flags["exclusive"]),
            bool(flags["auto_delete"]),
            json.dumps(dict(arguments)),
            owner if flags["exclusive"] else None,
        ),
    )
    mark_changed(work)


def restart_expiry(work: Transaction, queue: Queue) -> None:
    """Start the time after which an unused queue expires; it stands still while the queue has consumers."""
    if queue.expires is not None:
        work.execute(
            "update queue set expires = case when exists (select 1 from consumer where queue = ?1)"
            " then null else ?2 end where id = ?1",
            (queue.id, work.now + queue.expires),
        )


def delete_queue(work: Transaction, topology: Topology, queue: Queue, *, if_unused: bool, if_empty: bool) -> int:
    """Delete a queue; how many messages were ready in it.

    Raises:
        amqp.exceptions.PreconditionFailed: it is in use, or not empty, and that was to be respected.
    """
    ready = length(work, queue)
    if if_unused and work.value("select 1 from consumer where queue = ?", queue.id):
        raise amqp_errors.in_use(queue.name)
    if if_empty and ready:
        raise amqp_errors.not_empty(queue.name)
    drop_queue(work, topology, queue)
    return ready


def drop_queue(work: Transaction, topology: Topology, queue: Queue) -> None:
    """Delete a queue with all that is in it, and tell its consumers."""
    work.execute("delete from message where queue = ?", (queue.id,))
    owners = work.execute("delete from consumer where queue = ? returning owner", (queue.id,)).fetchall()
    work.woken.update(owner for (owner,) in owners)
    sources = work.execute(
        "delete from binding where destination = ? and is_queue returning source", (queue.name,)
    ).fetchall()
    work.execute("delete from queue where id = ?", (queue.id,))
    mark_changed(work)
    for source in {source for (source,) in sources}:
        _drop_unbound(work, source)
    topology.refresh(work)


def bind(
    work: Transaction, topology: Topology, source: str, destination: str, *, is_queue: bool, key: str, arguments: Any
) -> None:
    """Let messages pass from an exchange to a queue, or to another exchange.

    Raises:
        amqp.exceptions.NotFound: there is no such exchange.
        amqp.exceptions.AccessRefused: the default exchange has its own bindings.
    """
    _check_ends(work, topology, source, destination, is_queue=is_queue)
    added = work.execute(
        "insert or ignore into binding values (?, ?, ?, ?, ?)",
        (source, destination, is_queue, key, json.dumps(arguments or {}, sort_keys=True)),
    )
    if added.rowcount:
        mark_changed(work)


def unbind(
    work: Transaction, topology: Topology, source: str, destination: str, *, is_queue: bool, key: str, arguments: Any
) -> None:
    """Take a binding away; no error when there is none.

    Raises:
        amqp.exceptions.NotFound: there is no such exchange.
    """
    _check_ends(work, topology, source, destination, is_queue=is_queue)
    removed = work.execute(
        "delete from binding where source = ? and destination = ? and is_queue = ? and routing_key = ?"
        " and arguments = ?",
        (source, destination, is_queue, key, json.dumps(arguments or {}, sort_keys=True)),
    )
    if removed.rowcount:
        mark_changed(work)
        _drop_unbound(work, source)


def _check_ends(work: Transaction, topology: Topology, source: str, destination: str, *, is_queue: bool) -> None:
    if source == "":
        raise amqp_errors.access_refused("operation not permitted on the default exchange")
    for name in [source] if is_queue else [source, destination]:
        if topology.exchange(work, name) is None:
            raise amqp_errors.not_found("exchange", name)


def _drop_unbound(work: Transaction, exchange: str) -> None:
    """Delete an auto-delete exchange that has lost its last binding."""
    work.execute(
        "delete from exchange where name = ?1 and auto_delete and not exists (select 1 from binding where source = ?1)",
        (exchange,),
    )


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
        raise amqp_errors.access_refused(f"exchange name {name!r} contains reserved prefix 'amq.*'")
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
    mark_changed(work)


def _compare(existing: Exchange, kind: str, flags: Mapping[str, bool], arguments: Mapping[str, Any]) -> None:
    if kind != existing.type:
        raise amqp_errors.inequivalent("type", "exchange", existing.name, kind, existing.type)
    for flag, wanted in flags.items():
        if bool(wanted) != getattr(existing, flag):
            raise amqp_errors.inequivalent(flag, "exchange", existing.name, wanted, getattr(existing, flag))
    alternate = arguments.get("alternate-exchange")
    if alternate != existing.alternate:
        raise amqp_errors.inequivalent("alternate-exchange", "exchange", existing.name, alternate, existing.alternate)


def delete_exchange(work: Transaction, topology: Topology, name: str, *, if_unused: bool) -> None:
    """Delete an exchange and its bindings; no error when there is none.

    Raises:
        amqp.exceptions.PreconditionFailed: it has bindings, and that was to be respected.
        amqp.exceptions.AccessRefused: it is one of the broker's.
    """
    if topology.exchange(work, name) is None:
        return
    if name == "" or name.startswith("amq."):
        raise amqp_errors.access_refused(f"exchange {name!r} cannot be deleted")
    if if_unused and work.value("select 1 from binding where source = ?", name):
        raise amqp_errors.invalid(f"exchange {name!r} in vhost '/' in use")
    work.execute("delete from exchange where name = ?", (name,))
    work.execute("delete from binding where source = ?1 or (destination = ?1 and not is_queue)", (name,))
    mark_changed(work)
