"""What AMQP says when it refuses: py-amqp's exceptions, so that callers write one ``except`` for both brokers."""

from amqp import exceptions

__all__ = ["access_refused", "in_use", "inequivalent", "invalid", "locked", "no_route", "not_empty", "not_found"]


def not_found(kind: str, name: str) -> exceptions.NotFound:
    """404: there is no such queue or exchange."""
    return exceptions.NotFound(f"NOT_FOUND - no {kind} {name!r} in vhost '/'", reply_code=404)


def inequivalent(
    argument: str, kind: str, name: str, received: object, current: object
) -> exceptions.PreconditionFailed:
    """406: it exists, and was declared otherwise."""
    return exceptions.PreconditionFailed(
        f"PRECONDITION_FAILED - inequivalent arg {argument!r} for {kind} {name!r} in vhost '/': "
        f"received {received!r} but current is {current!r}",
        reply_code=406,
    )


def invalid(what: str) -> exceptions.PreconditionFailed:
    """406: a value that cannot be."""
    return exceptions.PreconditionFailed(f"PRECONDITION_FAILED - {what}", reply_code=406)


def in_use(name: str) -> exceptions.PreconditionFailed:
    """406: ``if_unused`` was asked for."""
    return invalid(f"queue {name!r} in vhost '/' in use")


def not_empty(name: str) -> exceptions.PreconditionFailed:
    """406: ``if_empty`` was asked for."""
    return invalid(f"queue {name!r} in vhost '/' is not empty")


def locked(name: str) -> exceptions.ResourceLocked:
    """405: the queue belongs to another connection."""
    return exceptions.ResourceLocked(
        f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue {name!r} in vhost '/'", reply_code=405
    )


def access_refused(what: str) -> exceptions.AccessRefused:
    """403: not allowed."""
    return exceptions.AccessRefused(f"ACCESS_REFUSED - {what}", reply_code=403)


def no_route() -> exceptions.ChannelError:
    """312: a mandatory message that no queue wants."""
    return exceptions.ChannelError("NO_ROUTE", (60, 50), reply_code=312)
