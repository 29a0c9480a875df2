"""Queue arguments: their valid values, and those that must be equivalent in a redeclaration."""

from collections.abc import Callable, Mapping
from typing import Any

from framework.broker.sqlite.amqp_errors import inequivalent, invalid

__all__ = ["check_equivalent", "validated"]


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _positive(value: Any) -> bool:
    return _count(value) and value > 0


def _priority(value: Any) -> bool:
    return _count(value) and value <= 255


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _overflow(value: Any) -> bool:
    return value in ("drop-head", "reject-publish", "reject-publish-dlx")


def _type(value: Any) -> bool:
    return value in ("classic", "quorum")


_VALID: dict[str, Callable[[Any], bool]] = {
    "x-expires": _positive,
    "x-message-ttl": _count,
    "x-max-length": _count,
    "x-max-length-bytes": _count,
    "x-overflow": _overflow,
    "x-dead-letter-exchange": _text,
    "x-dead-letter-routing-key": _text,
    "x-delivery-limit": _count,
    "x-single-active-consumer": _flag,
    "x-max-priority": _priority,
    "x-queue-type": _type,
}


def validated(name: str, flags: Mapping[str, bool], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a new queue, after checking them.

    Raises:
        amqp.exceptions.PreconditionFailed: one is invalid, or conflicts with another.
    """
    for argument, value in arguments.items():
        if argument in _VALID and not _VALID[argument](value):
            raise invalid(f"invalid arg {argument!r} for queue {name!r} in vhost '/': {value!r}")
    if "x-dead-letter-routing-key" in arguments and "x-dead-letter-exchange" not in arguments:
        raise invalid(f"invalid arg 'x-dead-letter-routing-key' for queue {name!r}: routing_key_but_no_dlx_defined")
    if arguments.get("x-queue-type") == "quorum":
        _check_quorum(name, flags, arguments)
    elif "x-delivery-limit" in arguments:
        raise invalid(f"invalid arg 'x-delivery-limit' for queue {name!r} in vhost '/': only quorum queues have it")
    return dict(arguments)


def _check_quorum(name: str, flags: Mapping[str, bool], arguments: Mapping[str, Any]) -> None:
    for flag, needed in (("durable", True), ("exclusive", False), ("auto_delete", False)):
        if bool(flags[flag]) != needed:
            raise invalid(f"invalid property {flag!r} for quorum queue {name!r} in vhost '/'")
    if "x-max-priority" in arguments:
        raise invalid(f"invalid arg 'x-max-priority' for quorum queue {name!r} in vhost '/'")


def check_equivalent(name: str, received: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """Check that a redeclaration has the arguments of the queue.

    Raises:
        amqp.exceptions.PreconditionFailed: one differs.
    """
    # A classic queue has no delivery limit: as in RabbitMQ, it is not compared.
    ignored = set() if current.get("x-queue-type") == "quorum" else {"x-delivery-limit"}
    for argument in _VALID.keys() - ignored:
        unset = "classic" if argument == "x-queue-type" else "none"
        new, old = received.get(argument, unset), current.get(argument, unset)
        if new != old:
            raise inequivalent(argument, "queue", name, new, old)
