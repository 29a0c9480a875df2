"""AMQP's errors as py-amqp's exceptions, so that callers need one ``except`` for both brokers."""

from amqp import exceptions

__all__ = ["access_refused", "in_use", "inequivalent", "invalid", "locked", "no_route", "not_empty", "not_found"]


def not_found(kind: str, name: str) -> exceptions.NotFound:
    """Return error 404: there is no such queue or exchange."""
    return exceptions.NotFound(f"NOT_FOUND - no {kind} {name!r} in vhost '/'", reply_code=404)


def inequivalent(
    argument: str, kind: str, name: str, received: object, current: object
) -> exceptions.PreconditionFailed:
    """Return error 406: it exists and was declared with another argument."""
    return exceptions.PreconditionFailed(
        f"PRECONDITION_FAILED - inequivalent arg {argument!r} for {kind} {name!r} in vhost '/': "
        f"received {received!r} but current is {current!r}",
        reply_code=406,
    )


def invalid(cause: str) -> exceptions.PreconditionFailed:
    """Return error 406: a value is invalid."""
    return exceptions.PreconditionFailed(f"PRECONDITION_FAILED - {cause}", reply_code=406)


def in_use(name: str) -> exceptions.PreconditionFailed:
    """Return error 406: the queue is in use and ``if_unused`` is set."""
    return invalid(f"queue {name!r} in vhost '/' in use")


def not_empty(name: str) -> exceptions.PreconditionFailed:
    """Return error 406: the queue is not empty and ``if_empty`` is set."""
    return invalid(f"queue {name!r} in vhost '/' is not empty")


def locked(name: str) -> exceptions.ResourceLocked:
    """Return error 405: the queue is exclusive to another connection."""
    return exceptions.ResourceLocked(
        f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue {name!r} in vhost '/'", reply_code=405
    )


def access_refused(cause: str) -> exceptions.AccessRefused:
    """Return error 403: the operation is not allowed."""
    return exceptions.AccessRefused(f"ACCESS_REFUSED - {cause}", reply_code=403)


def no_route() -> exceptions.ChannelError:
    """Return error 312: no queue takes a mandatory message."""
    return exceptions.ChannelError("NO_ROUTE", (60, 50), reply_code=312)
