"""A channel of the embedded broker, with the methods, arguments and refusals of py-amqp's."""

from collections.abc import Mapping
from typing import Any

import amqp
from amqp.exceptions import MessageNacked
from kombu.transport import pyamqp
from kombu.transport.base import to_rabbitmq_queue_arguments  # type: ignore[attr-defined]

from framework.broker import refusals
from framework.broker.declaring import Declaring
from framework.broker.delivering import Delivering
from framework.broker.posting import post
from framework.broker.publishing import letter_of

__all__ = ["Channel"]


class Channel(Declaring, Delivering):
    """What kombu and Celery call; see py-amqp for what each method means."""

    Message = pyamqp.Message

    def basic_publish(
        self,
        msg: amqp.Message,
        exchange: str = "",
        routing_key: str = "",
        mandatory: bool = False,
        **_: Any,
    ) -> None:
        """Publish; when this returns, the message is in the file.

        Raises:
            amqp.exceptions.MessageNacked: a full queue refused it.
            amqp.exceptions.ChannelError: with code 312, it was mandatory and no queue wants it.
            amqp.exceptions.NotFound: there is no such exchange.
        """
        with self._working() as work:
            routed, refused = post(work, self._topology, letter_of(msg, exchange, routing_key))
        if mandatory and not routed:
            self._return(msg, exchange, routing_key)
        if refused:
            raise MessageNacked

    def confirm_select(self) -> None:
        """Nothing to select: every publish is confirmed when it returns."""

    def _return(self, msg: amqp.Message, exchange: str, routing_key: str) -> None:
        callbacks = self.events.get("basic_return")
        if not callbacks:
            raise refusals.no_route()
        for callback in callbacks:
            callback(refusals.no_route(), exchange, routing_key, msg)

    def prepare_message(
        self,
        body: Any,
        priority: int | None = None,
        content_type: str | None = None,
        content_encoding: str | None = None,
        headers: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
    ) -> amqp.Message:
        """A message for ``basic_publish``."""
        return amqp.Message(
            body,
            priority=priority,
            content_type=content_type,
            content_encoding=content_encoding,
            application_headers=headers,
            **properties or {},
        )

    def message_to_python(self, raw_message: amqp.Message) -> pyamqp.Message:
        """A delivered message as kombu's."""
        return self.Message(raw_message, channel=self)

    def prepare_queue_arguments(self, arguments: dict[str, Any] | None, **options: Any) -> dict[str, Any]:
        """Queue arguments with kombu's options translated into RabbitMQ's."""
        prepared: dict[str, Any] = to_rabbitmq_queue_arguments(arguments or {}, **options)
        return prepared
