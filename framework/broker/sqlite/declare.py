"""Declares and deletes exchanges, queues and bindings, with RabbitMQ's errors."""

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


def usable_queue(transaction: Transaction, topology: Topology, name: str, owner: int | None) -> Queue:
    """Return the queue called ``name``, for use by the connection ``owner``.

    Raises:
        amqp.exceptions.NotFound: there is none.
        amqp.exceptions.ResourceLocked: it is exclusive to another connection.
    """
    queue = topology.queue(transaction, name)
    if queue is None:
        raise amqp_errors.not_found("queue", name)
    if queue.owner is not None and queue.owner != owner:
        raise amqp_errors.locked(name)
    return queue


def declare_queue(
    transaction: Transaction,
    topology: Topology,
    name: str,
    flags: Mapping[str, bool],
    arguments: Mapping[str, Any],
    owner: int | None,
) -> Queue:
    """Return the queue of that name, ``flags`` (durable, exclusive, auto_delete) and arguments; create a missing one.

    Raises:
        amqp.exceptions.PreconditionFailed: it exists with other flags or arguments, or an argument is invalid.
        amqp.exceptions.ResourceLocked: it is exclusive to another connection.
        amqp.exceptions.AccessRefused: its name is reserved.
    """
    name = name or f"amq.gen-{uuid4().hex}"
    if topology.queue(transaction, name) is None:
        _create(transaction, name, flags, validated(name, flags, arguments), owner)
        topology.refresh(transaction)
    queue = usable_queue(transaction, topology, name, owner)
    if flags["exclusive"] and not queue.exclusive:
        raise amqp_errors.locked(name)
    for flag, wanted in flags.items():
        if bool(wanted) != getattr(queue, flag):
            raise amqp_errors.inequivalent(flag, "queue", name, wanted, getattr(queue, flag))
    check_equivalent(name, arguments, queue.arguments)
    restart_expiry(transaction, queue)
    return queue


#: The arguments of a queue whose ready messages are counted.
LIMITS = frozenset(["x-max-length", "x-max-length-bytes"])


def _create(
    transaction: Transaction, name: str, flags: Mapping[str, bool], arguments: Mapping[str, Any], owner: int | None
) -> None:
    if name.startswith("amq.") and not name.startswith("amq.gen-"):
        raise amqp_errors.access_refused(f"queue name {name!r} contains reserved prefix 'amq.*'")
    created = transaction.value(
        "insert into queue (name, durable, exclusive, auto_delete, arguments, owner) values (?, ?, ?, ?, ?, ?)"
        " returning id",
        name,
        bool(flags["durable"]),
        bool(flags["exclusive"]),
        bool(flags["auto_delete"]),
        json.dumps(dict(arguments)),
        owner if flags["exclusive"] else None,
    )
    if not LIMITS.isdisjoint(arguments):
        transaction.execute("insert into size (queue) values (?)", (created,))
    mark_changed(transaction)


def restart_expiry(transaction: Transaction, queue: Queue) -> None:
    """Restart the time after which an unused queue expires; a queue with consumers does not expire."""
    if queue.expires is not None:
        transaction.execute(
            "update queue set expires = case when exists (select 1 from consumer where queue = ?)"
            " then null else ? end where id = ?",
            (queue.id, transaction.now + queue.expires, queue.id),
        )


def delete_queue(transaction: Transaction, topology: Topology, queue: Queue, *, if_unused: bool, if_empty: bool) -> int:
    """Delete a queue; return how many messages were ready in it.

    Raises:
        amqp.exceptions.PreconditionFailed: it is in use and ``if_unused`` is set, or not empty and ``if_empty`` is.
    """
    ready = length(transaction, queue)
    if if_unused and transaction.value("select 1 from consumer where queue = ?", queue.id):
        raise amqp_errors.in_use(queue.name)
    if if_empty and ready:
        raise amqp_errors.not_empty(queue.name)
    drop_queue(transaction, topology, queue)
    return ready


def drop_queue(transaction: Transaction, topology: Topology, queue: Queue) -> None:
    """Delete a queue with its messages, and wake its consumers, which are cancelled."""
    transaction.execute("delete from message where queue = ?", (queue.id,))
    owners = transaction.execute("delete from consumer where queue = ? returning owner", (queue.id,)).fetchall()
    transaction.woken.update(owner for (owner,) in owners)
    sources = transaction.execute(
        "delete from binding where destination = ? and is_queue returning source", (queue.name,)
    ).fetchall()
    transaction.execute("delete from size where queue = ?", (queue.id,))
    transaction.execute("delete from queue where id = ?", (queue.id,))
    mark_changed(transaction)
    for source in {source for (source,) in sources}:
        _drop_unbound(transaction, source)
    topology.refresh(transaction)


def bind(
    transaction: Transaction,
    topology: Topology,
    source: str,
    destination: str,
    *,
    is_queue: bool,
    key: str,
    arguments: Any,
) -> None:
    """Bind a queue, or another exchange, to an exchange.

    Raises:
        amqp.exceptions.NotFound: there is no such exchange.
        amqp.exceptions.AccessRefused: the default exchange takes no bindings.
    """
    _check_ends(transaction, topology, source, destination, is_queue=is_queue)
    added = transaction.execute(
        "insert or ignore into binding values (?, ?, ?, ?, ?)",
        (source, destination, is_queue, key, json.dumps(arguments or {}, sort_keys=True)),
    )
    if added.rowcount:
        mark_changed(transaction)


def unbind(
    transaction: Transaction,
    topology: Topology,
    source: str,
    destination: str,
    *,
    is_queue: bool,
    key: str,
    arguments: Any,
) -> None:
    """Remove a binding, without an error if there is none.

    Raises:
        amqp.exceptions.NotFound: there is no such exchange.
    """
    _check_ends(transaction, topology, source, destination, is_queue=is_queue)
    removed = transaction.execute(
        "delete from binding where source = ? and destination = ? and is_queue = ? and routing_key = ?"
        " and arguments = ?",
        (source, destination, is_queue, key, json.dumps(arguments or {}, sort_keys=True)),
    )
    if removed.rowcount:
        mark_changed(transaction)
        _drop_unbound(transaction, source)


def _check_ends(transaction: Transaction, topology: Topology, source: str, destination: str, *, is_queue: bool) -> None:
    if source == "":
        raise amqp_errors.access_refused("operation not permitted on the default exchange")
    for name in [source] if is_queue else [source, destination]:
        if topology.exchange(transaction, name) is None:
            raise amqp_errors.not_found("exchange", name)


def _drop_unbound(transaction: Transaction, exchange: str) -> None:
    """Delete an auto-delete exchange that has lost its last binding."""
    transaction.execute(
        "delete from exchange where name = ? and auto_delete and not exists (select 1 from binding where source = ?)",
        (exchange, exchange),
    )


#: The exchange types of the embedded broker.
TYPES = ("direct", "topic", "fanout")


def declare_exchange(
    transaction: Transaction,
    topology: Topology,
    name: str,
    kind: str,
    flags: Mapping[str, bool],
    arguments: Mapping[str, Any],
) -> None:
    """Create an exchange with ``flags`` (durable, auto_delete, internal), or check the one that exists.

    Raises:
        amqp.exceptions.PreconditionFailed: it exists with another type, flags or arguments.
        amqp.exceptions.InvalidCommand: there is no such type.
        amqp.exceptions.AccessRefused: its name is reserved.
    """
    existing = topology.exchange(transaction, name)
    if existing is not None:
        _compare(existing, kind, flags, arguments)
        return
    if kind not in TYPES:
        raise InvalidCommand(f"COMMAND_INVALID - exchange type {kind!r} is not one of {TYPES}", reply_code=503)
    if name.startswith("amq."):
        raise amqp_errors.access_refused(f"exchange name {name!r} contains reserved prefix 'amq.*'")
    transaction.execute(
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
    mark_changed(transaction)


def _compare(existing: Exchange, kind: str, flags: Mapping[str, bool], arguments: Mapping[str, Any]) -> None:
    if kind != existing.type:
        raise amqp_errors.inequivalent("type", "exchange", existing.name, kind, existing.type)
    for flag, wanted in flags.items():
        if bool(wanted) != getattr(existing, flag):
            raise amqp_errors.inequivalent(flag, "exchange", existing.name, wanted, getattr(existing, flag))
    alternate = arguments.get("alternate-exchange")
    if alternate != existing.alternate:
        raise amqp_errors.inequivalent("alternate-exchange", "exchange", existing.name, alternate, existing.alternate)


def delete_exchange(transaction: Transaction, topology: Topology, name: str, *, if_unused: bool) -> None:
    """Delete an exchange and its bindings, without an error if there is none.

    Raises:
        amqp.exceptions.PreconditionFailed: it has bindings and ``if_unused`` is set.
        amqp.exceptions.AccessRefused: it is predeclared.
    """
    if topology.exchange(transaction, name) is None:
        return
    if name == "" or name.startswith("amq."):
        raise amqp_errors.access_refused(f"exchange {name!r} cannot be deleted")
    if if_unused and transaction.value("select 1 from binding where source = ?", name):
        raise amqp_errors.invalid(f"exchange {name!r} in vhost '/' in use")
    transaction.execute("delete from exchange where name = ?", (name,))
    transaction.execute("delete from binding where source = ? or (destination = ? and not is_queue)", (name, name))
    mark_changed(transaction)
