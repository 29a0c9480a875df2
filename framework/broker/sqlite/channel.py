"""A channel of the embedded broker, with the methods, arguments and errors of py-amqp's."""

from collections.abc import Mapping
from typing import Any

import amqp
from amqp.exceptions import MessageNacked
from kombu.transport import pyamqp
from kombu.transport.base import to_rabbitmq_queue_arguments  # type: ignore[attr-defined]

from framework.broker.sqlite import amqp_errors
from framework.broker.sqlite.basic_methods import BasicMethods
from framework.broker.sqlite.messages import message_of
from framework.broker.sqlite.publish import publish
from framework.broker.sqlite.queue_methods import QueueMethods

__all__ = ["Channel"]


class Channel(QueueMethods, BasicMethods):
    """The channel that kombu and Celery call; py-amqp documents each method."""

    Message = pyamqp.Message

    def basic_publish(
        self,
        msg: amqp.Message,
        exchange: str = "",
        routing_key: str = "",
        mandatory: bool = False,
        **_: Any,
    ) -> None:
        """Publish a message; when this returns, it is in the file.

        Raises:
            amqp.exceptions.MessageNacked: a full queue refused it.
            amqp.exceptions.ChannelError: with code 312, it was mandatory and no queue took it.
            amqp.exceptions.NotFound: there is no such exchange.
        """
        with self._transaction() as transaction:
            routed, refused = publish(transaction, self._topology, message_of(msg, exchange, routing_key))
        if mandatory and not routed:
            self._return(msg, exchange, routing_key)
        self._published += 1
        if refused and not self.events["basic_nack"]:
            raise MessageNacked
        for callback in self.events["basic_nack" if refused else "basic_ack"]:
            callback(self._published, False)

    def confirm_select(self) -> None:
        """Number the publishes from here on; every one is confirmed before it returns."""
        self._published = 0

    def _return(self, msg: amqp.Message, exchange: str, routing_key: str) -> None:
        callbacks = self.events.get("basic_return")
        if not callbacks:
            raise amqp_errors.no_route()
        for callback in callbacks:
            callback(amqp_errors.no_route(), exchange, routing_key, msg)

    def prepare_message(
        self,
        body: Any,
        priority: int | None = None,
        content_type: str | None = None,
        content_encoding: str | None = None,
        headers: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
    ) -> amqp.Message:
        """Return a message for ``basic_publish``."""
        return amqp.Message(
            body,
            priority=priority,
            content_type=content_type,
            content_encoding=content_encoding,
            application_headers=headers,
            **properties or {},
        )

    def message_to_python(self, raw_message: amqp.Message) -> pyamqp.Message:
        """Return a delivered message as kombu's."""
        return self.Message(raw_message, channel=self)

    def prepare_queue_arguments(self, arguments: dict[str, Any] | None, **options: Any) -> dict[str, Any]:
        """Return queue arguments with kombu's options translated into RabbitMQ's."""
        prepared: dict[str, Any] = to_rabbitmq_queue_arguments(arguments or {}, **options)
        return prepared
