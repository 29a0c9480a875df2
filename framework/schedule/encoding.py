"""Whether a task's message can be encoded, before anything is sent."""

from collections.abc import Iterable, Mapping
from struct import error as PackError  # noqa: N812
from typing import Any

from amqp.basic_message import Message
from amqp.exceptions import FrameSyntaxError
from amqp.serialization import dumps
from celery import Celery
from celery.beat import BeatLazyFunc
from kombu import compression, serialization

from framework.errors import BadEntries, describe
from framework.errors.base import one_line

__all__ = ["check_call", "check_headers"]

#: What py-amqp raises of a value that AMQP does not have.
UNENCODABLE = (AttributeError, FrameSyntaxError, PackError, OverflowError, TypeError, ValueError)

#: AMQP's types of the properties that ``apply_async`` passes on; kombu translates the other ones.
PROPERTIES = {name: kind for name, kind in Message.PROPERTIES if name not in ("application_headers", "delivery_mode")}


def check_call(
    app: Celery, entry: str, task: str, args: Iterable[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
) -> None:
    """Encode the message of an entry's task, without what is evaluated at each call.

    Raises:
        BadEntries: it cannot be encoded.
    """
    _check_properties(entry, options)
    lazy = tuple(None if isinstance(value, BeatLazyFunc) else value for value in args)
    named = {name: None if isinstance(value, BeatLazyFunc) else value for name, value in kwargs.items()}
    try:
        message: Any = app.amqp.as_task_v2(entry, task, lazy, named, expires=options.get("expires"))
    except Exception as exc:
        raise BadEntries.in_options(entry, "expires", describe(exc), "Use seconds or a datetime.") from exc
    _check_body(app, entry, task, message.body, options)


def _check_properties(entry: str, options: Mapping[str, Any]) -> None:
    headers = options.get("headers") or {}
    if not isinstance(headers, Mapping):
        raise BadEntries.in_options(entry, "headers", f"{headers!r} is no mapping", "Write {'name': 'value'}.")
    if fault := check_headers(headers):
        raise BadEntries.in_options(entry, "headers", fault, "Use text, numbers, dates, lists and mappings.")
    for name in PROPERTIES.keys() & options.keys():
        if options[name] is not None and (fault := _fault(PROPERTIES[name], options[name])):
            raise BadEntries.in_options(entry, name, fault, "Use a value that AMQP has for it.")


def check_headers(headers: Mapping[str, Any]) -> str:
    """Return why AMQP cannot encode headers; an empty string where it can."""
    for name in ("CC", "BCC"):
        keys = headers.get(name) or ()
        if not isinstance(keys, list | tuple) or not all(isinstance(key, str) for key in keys):
            return f"{name} is {keys!r}, and must be a list of routing keys"
    if not _fault("F", headers):
        return ""
    return next(f"{name!r}: {fault}" for name, value in headers.items() if (fault := _fault("F", {name: value})))


def _fault(kind: str, value: Any) -> str:
    try:
        dumps(kind, (value,))
    except UNENCODABLE as exc:
        return f"AMQP cannot encode {value!r} ({one_line(exc)})"
    return ""


def _check_body(app: Celery, entry: str, task: str, body: Any, options: Mapping[str, Any]) -> None:
    own = getattr(app.tasks.get(task), "serializer", None)
    serializer = options.get("serializer") or own or app.conf.task_serializer
    try:
        serialization.dumps(body, serializer=serializer)
    except Exception as exc:
        fix = "Use arguments and a serializer that fit each other."
        raise BadEntries.in_options(entry, f"arguments or its serializer {serializer!r}", describe(exc), fix) from exc
    try:
        compression.get_encoder(options.get("compression") or "gzip")
    except KeyError as exc:
        known = ", ".join(compression.encoders())
        raise BadEntries.in_options(entry, "compression", f"{exc} is unknown", f"There are {known}.") from exc
