"""Whether a broker can be used, and if not, what to do about it."""

from amqp.exceptions import AccessRefused, AMQPError, NotAllowed
from celery import Celery
from kombu import Connection
from kombu.exceptions import OperationalError
from kombu.utils.url import maybe_sanitize_url

from framework.errors import BrokerNotReady, FrameworkError

__all__ = ["check_broker"]


def check_broker(app: Celery) -> str:
    """Connect once to the application's broker; returns its URL, without password.

    Raises:
        BrokerError: it cannot be used; the message has the cause and the cure.
    """
    url: str = maybe_sanitize_url(app.conf.broker_write_url)
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
            cause = exc.__cause__ or exc  # kombu wraps some of them
            raise BrokerNotReady.at(url, cause, _cure(connection, cause)) from None
    return url


def _cure(connection: Connection, cause: BaseException) -> str:
    user, vhost = connection.userid, connection.virtual_host
    if isinstance(cause, AccessRefused):
        return f"Check the password of user {user!r} in CELERY_BROKER_URL (guest may log in from its own machine only)."
    if isinstance(cause, NotAllowed) and "not found" in str(cause):
        return f"Make the virtual host: sudo rabbitmqctl add_vhost {vhost}"
    if isinstance(cause, NotAllowed):
        return f"Let the user in: sudo rabbitmqctl set_permissions -p {vhost} {user} '.*' '.*' '.*'"
    if isinstance(cause, ConnectionRefusedError):
        return "Start it (sudo rabbitmq-server), or unset CELERY_BROKER_URL: `framework up` brings a broker of its own."
    return "Is it the right host and port in CELERY_BROKER_URL, or does another program have that port?"
