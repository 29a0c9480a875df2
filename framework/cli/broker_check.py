"""Whether a broker can be used, and if not, what to do about it."""

from amqp.exceptions import AccessRefused, AMQPError, NotAllowed
from celery import Celery
from kombu.exceptions import OperationalError

from framework.broker.url import sanitized
from framework.errors import BrokerNotReady, FrameworkError

__all__ = ["broker_error", "check_broker"]


def check_broker(app: Celery) -> str:
    """Connect once to the application's broker; returns its URL, without password.

    Raises:
        BrokerError: it cannot be used; the message has the cause and the cure.
    """
    url = sanitized(app.conf.broker_write_url)
    try:
        connection = app.connection_for_write()
    except (LookupError, ImportError) as exc:
        raise BrokerNotReady.at(url, exc, "A broker's URL begins with amqp:// or sqlite:///") from None
    with connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0)
        except FrameworkError:
            raise
        except (OperationalError, AMQPError, OSError) as exc:
            raise broker_error(app, exc) from None
    return url


def broker_error(app: Celery, error: BaseException) -> BrokerNotReady:
    """What to say about an error that the application's broker, or the way to it, is the cause of."""
    cause = error.__cause__ or error  # kombu wraps some of them
    return BrokerNotReady.at(sanitized(app.conf.broker_write_url), cause, _cure(app, cause))


def _cure(app: Celery, cause: BaseException) -> str:
    broker = app.connection_for_write()
    user, vhost = broker.userid, broker.virtual_host
    if isinstance(cause, AccessRefused):
        return f"Check the password of user {user!r} in CELERY_BROKER_URL (guest may log in from its own machine only)."
    if isinstance(cause, NotAllowed) and "not found" in str(cause):
        return f"Make the virtual host: sudo rabbitmqctl add_vhost {vhost}"
    if isinstance(cause, NotAllowed):
        return f"Let the user in: sudo rabbitmqctl set_permissions -p {vhost} {user} '.*' '.*' '.*'"
    if isinstance(cause, ConnectionRefusedError):
        return "Start it (sudo rabbitmq-server); or run `framework up` without CELERY_BROKER_URL: it needs no server."
    return "Is it the right host and port in CELERY_BROKER_URL, or does another program have that port?"
