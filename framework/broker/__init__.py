"""Everything about brokers that is not a feature: RabbitMQ (by Celery's transport), or one SQLite file (by ours)."""

from kombu.transport import TRANSPORT_ALIASES

__all__ = ["register"]


def register() -> None:
    """Register ``sqlite:///file`` as a broker URL for every kombu connection of this process."""
    TRANSPORT_ALIASES["sqlite"] = "framework.broker.sqlite.transport:Transport"
