"""What a broker URL may name: RabbitMQ (Celery's own transport) or one SQLite file (ours)."""

from kombu.transport import TRANSPORT_ALIASES

__all__ = ["register"]


def register() -> None:
    """Make ``sqlite:///file`` a broker URL for every kombu connection of this process."""
    TRANSPORT_ALIASES["sqlite"] = "framework.broker.sqlite.transport:Transport"
