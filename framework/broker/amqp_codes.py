"""AMQP's reply codes."""

__all__ = ["NO_ROUTE"]

#: The code of the error for a mandatory message that no queue takes.
NO_ROUTE = 312
