"""Checks the application's broker, and turns its errors into one line with the fix."""

from collections.abc import Iterator
from contextlib import contextmanager

from amqp.exceptions import AccessRefused, AMQPError, NotAllowed
from celery import Celery
from kombu.exceptions import OperationalError

from framework.broker.deadline import Deadline
from framework.broker.url import sanitized
from framework.config import setting
from framework.errors import BrokerNotReady, FrameworkError

__all__ = ["broker_error", "broker_errors_in_one_line", "check_broker"]


def check_broker(app: Celery) -> str:
    """Connect once to the application's broker; return its URL, without password.

    Raises:
        BrokerError: the broker cannot be used; the message contains the cause and the fix.
    """
    url = sanitized(app.conf.broker_write_url)
    try:
        connection = app.connection_for_write()
    except (LookupError, ImportError) as exc:
        raise BrokerNotReady.at(url, exc, "A broker's URL begins with amqp:// or sqlite:///") from None
    with Deadline.within(float(setting(app, "task_publish_timeout"))), connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0)
        except FrameworkError:
            raise
        except (OperationalError, AMQPError, OSError) as exc:
            raise broker_error(app, exc) from None
    return url


def broker_error(app: Celery, error: BaseException) -> BrokerNotReady:
    """Return the error that names the application's broker, the cause and the fix."""
    cause = error.__cause__ or error  # kombu wraps some errors
    return BrokerNotReady.at(sanitized(app.conf.broker_write_url), cause, _fix(app, cause))


@contextmanager
def broker_errors_in_one_line(app: Celery) -> Iterator[None]:
    """Raise a `BrokerNotReady` for any error of the broker or of the connection to it."""
    try:
        yield
    except (FrameworkError, BrokenPipeError):
        raise  # a FrameworkError has a message; with a broken pipe, the output is no longer read
    except (OperationalError, AMQPError, ConnectionError, TimeoutError) as exc:
        raise broker_error(app, exc) from None


def _fix(app: Celery, cause: BaseException) -> str:
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
