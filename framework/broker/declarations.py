"""Declaring, binding and deleting what messages pass through, refused as RabbitMQ refuses."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from framework.broker import refusals
from framework.broker.arguments import checked, compare
from framework.broker.declared import Queue
from framework.broker.queues import length
from framework.broker.store import Transaction
from framework.broker.topology import Topology, changed

__all__ = ["bind", "declare_queue", "delete_queue", "drop_queue", "queue_for", "touch", "unbind"]


def queue_for(work: Transaction, topology: Topology, name: str, owner: int | None) -> Queue:
    """The queue called ``name``, to be used by the connection ``owner``.

    Raises:
        amqp.exceptions.NotFound: there is none.
        amqp.exceptions.ResourceLocked: it is another connection's own.
    """
    queue = topology.queue(work, name)
    if queue is None:
        raise refusals.not_found("queue", name)
    if queue.owner is not None and queue.owner != owner:
        raise refusals.locked(name)
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
        _create(work, name, flags, checked(name, flags, arguments), owner)
        topology.refresh(work)
    queue = queue_for(work, topology, name, owner)
    if flags["exclusive"] and not queue.exclusive:
        raise refusals.locked(name)
    for flag, wanted in flags.items():
        if bool(wanted) != getattr(queue, flag):
            raise refusals.inequivalent(flag, "queue", name, wanted, getattr(queue, flag))
    compare(name, arguments, queue.arguments)
    touch(work, queue)
    return queue


def _create(
    work: Transaction, name: str, flags: Mapping[str, bool], arguments: Mapping[str, Any], owner: int | None
) -> None:
    if name.startswith("amq.") and not name.startswith("amq.gen-"):
        raise refusals.access_refused(f"queue name {name!r} contains reserved prefix 'amq.*'")
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
    changed(work)


def touch(work: Transaction, queue: Queue) -> None:
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
        raise refusals.in_use(queue.name)
    if if_empty and ready:
        raise refusals.not_empty(queue.name)
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
    changed(work)
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
        changed(work)


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
        changed(work)
        _drop_unbound(work, source)


def _check_ends(work: Transaction, topology: Topology, source: str, destination: str, *, is_queue: bool) -> None:
    if source == "":
        raise refusals.access_refused("operation not permitted on the default exchange")
    for name in [source] if is_queue else [source, destination]:
        if topology.exchange(work, name) is None:
            raise refusals.not_found("exchange", name)


def _drop_unbound(work: Transaction, exchange: str) -> None:
    """Delete an auto-delete exchange that has lost its last binding."""
    work.execute(
        "delete from exchange where name = ?1 and auto_delete and not exists (select 1 from binding where source = ?1)",
        (exchange,),
    )
