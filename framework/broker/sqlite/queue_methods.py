"""AMQP's exchange and queue methods; arguments and their defaults are py-amqp's."""

from collections.abc import Mapping
from typing import Any

from amqp.protocol import queue_declare_ok_t

from framework.broker.sqlite import amqp_errors, declare, maintenance
from framework.broker.sqlite.channel_base import ChannelBase
from framework.broker.sqlite.messages import length, purge

__all__ = ["QueueMethods"]


class QueueMethods(ChannelBase):
    """The methods of a channel that declare, bind and delete."""

    def exchange_declare(
        self,
        exchange: str,
        type: str,  # noqa: A002
        passive: bool = False,
        durable: bool = False,
        auto_delete: bool = True,
        arguments: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Create an exchange, or check the one that exists."""
        flags = {"durable": durable, "auto_delete": auto_delete, "internal": False}
        with self._transaction() as transaction:
            if not passive:
                declare.declare_exchange(transaction, self._topology, exchange, type, flags, arguments or {})
            elif self._topology.exchange(transaction, exchange) is None:
                raise amqp_errors.not_found("exchange", exchange)

    def exchange_delete(self, exchange: str, if_unused: bool = False, **_: Any) -> None:
        """Delete an exchange with its bindings."""
        with self._transaction() as transaction:
            declare.delete_exchange(transaction, self._topology, exchange, if_unused=if_unused)

    def exchange_bind(
        self,
        destination: str,
        source: str = "",
        routing_key: str = "",
        arguments: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Bind one exchange to another."""
        with self._transaction() as transaction:
            declare.bind(
                transaction, self._topology, source, destination, is_queue=False, key=routing_key, arguments=arguments
            )

    def exchange_unbind(
        self,
        destination: str,
        source: str = "",
        routing_key: str = "",
        arguments: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Take such a binding away."""
        with self._transaction() as transaction:
            declare.unbind(
                transaction, self._topology, source, destination, is_queue=False, key=routing_key, arguments=arguments
            )

    def queue_declare(
        self,
        queue: str = "",
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = True,
        arguments: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> queue_declare_ok_t:
        """Create a queue, or check the one that exists; return its name, ready messages and consumers."""
        flags = {"durable": durable, "exclusive": exclusive, "auto_delete": auto_delete}
        connection = self._open()
        connection.release_dead_connections()
        owner = connection.register() if exclusive and not passive else connection.owner
        with self._transaction() as transaction:
            maintenance.expire(transaction, self._topology)
            if passive:
                found = declare.usable_queue(transaction, self._topology, queue, owner)
                declare.restart_expiry(transaction, found)
            else:
                found = declare.declare_queue(transaction, self._topology, queue, flags, arguments or {}, owner)
            consumers = transaction.value("select count(*) from consumer where queue = ?", found.id)
            self._last_queue = found.name
            return queue_declare_ok_t(found.name, length(transaction, found), consumers)

    def queue_bind(
        self,
        queue: str,
        exchange: str = "",
        routing_key: str = "",
        arguments: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Bind a queue to an exchange."""
        with self._transaction() as transaction:
            name = self._queue(transaction, queue).name
            declare.bind(
                transaction, self._topology, exchange, name, is_queue=True, key=routing_key, arguments=arguments
            )

    def queue_unbind(
        self,
        queue: str,
        exchange: str,
        routing_key: str = "",
        arguments: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Take such a binding away."""
        with self._transaction() as transaction:
            name = self._queue(transaction, queue).name
            declare.unbind(
                transaction, self._topology, exchange, name, is_queue=True, key=routing_key, arguments=arguments
            )

    def queue_purge(self, queue: str, **_: Any) -> int:
        """Delete the ready messages of a queue; return how many there were."""
        with self._transaction() as transaction:
            return purge(transaction, self._queue(transaction, queue))

    def queue_delete(self, queue: str = "", if_unused: bool = False, if_empty: bool = False, **_: Any) -> int:
        """Delete a queue, without an error if there is none; return how many messages were ready."""
        with self._transaction() as transaction:
            if self._topology.queue(transaction, queue) is None:
                return 0
            found = self._queue(transaction, queue)
            return declare.delete_queue(transaction, self._topology, found, if_unused=if_unused, if_empty=if_empty)
