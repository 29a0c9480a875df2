"""Everything about brokers that is not a feature: RabbitMQ (by Celery's transport), or one SQLite file (by ours)."""

from kombu.transport import TRANSPORT_ALIASES

__all__ = ["register"]

_CONNECTION = "framework.broker.connection"


def register() -> None:
    """Register ``sqlite:///file`` as a broker URL for every kombu connection of this process, and deadlines for AMQP.

    The AMQP transport is kombu's own for a thread without a deadline.
    """
    TRANSPORT_ALIASES["sqlite"] = "framework.broker.sqlite.transport:Transport"
    TRANSPORT_ALIASES.update(
        {
            "amqp": f"{_CONNECTION}:Transport",
            "pyamqp": f"{_CONNECTION}:Transport",
            "amqps": f"{_CONNECTION}:SSLTransport",
        }
    )
