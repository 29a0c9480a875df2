"""Messages as a worker reads them: whatever is in them, reading them raises nothing."""

from typing import Any

import amqp
from kombu.transport import pyamqp

from framework.celery.vetting import Fault, Limits, check_body

__all__ = ["Incoming"]


class Incoming(pyamqp.Message):
    """A message whose body is decompressed only where the application compresses, and never without end."""

    def __init__(self, msg: amqp.Message, channel: Any = None, *, limits: Limits, **options: Any) -> None:
        #: The body as it was sent, which is what can be published again.
        self.sent_body = msg.body
        try:
            check_body(msg.body, msg.properties.get("application_headers") or {}, limits)
        except Fault as fault:
            self.errors = [(Fault, fault, None)]  # a message with errors is not decompressed
        super().__init__(msg, channel=channel, **options)
