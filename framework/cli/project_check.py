"""Checks of ``framework doctor`` that need no broker: task modules, schedule and settings."""

from collections.abc import Iterator
from typing import Any, NamedTuple
from zoneinfo import ZoneInfoNotFoundError

from celery.exceptions import ImproperlyConfigured
from kombu.serialization import prepare_accept_content, registry  # type: ignore[attr-defined]

from framework.celery.app import App
from framework.errors import FrameworkError, describe
from framework.schedule.entries import entries_of

__all__ = ["Finding", "project_findings"]


class Finding(NamedTuple):
    """The result of a check: ``ok``, ``note`` or ``wrong``, and its text."""

    state: str
    text: str


def project_findings(app: App) -> Iterator[Finding]:
    """Yield what is wrong with the project, and settings that give up a guarantee; nothing where all is well."""
    try:
        app.loader.import_default_modules()
        _ = app.timezone  # raises where there is no such zone
        entries_of(app)
    except FrameworkError as exc:
        yield Finding("wrong", exc.message)
    except ZoneInfoNotFoundError as exc:
        yield Finding("wrong", f"The setting timezone names no time zone: {describe(exc)}.")
    except (ImproperlyConfigured, ImportError):
        pass  # the result backend cannot be made, which doctor reports later; task modules raise a FrameworkError
    yield from _serializers(app.conf)
    yield from _guarantees(app.conf)


def _serializers(conf: Any) -> Iterator[Finding]:
    results = conf.result_accept_content or conf.accept_content
    for setting, accepted in (("task_serializer", conf.accept_content), ("result_serializer", results)):
        name = conf[setting]
        if name not in registry.name_to_type:
            yield Finding("wrong", f"The setting {setting} names no serializer: {name!r}.")
        elif registry.name_to_type[name] not in (prepare_accept_content(accepted) or ()):
            fix = f"add {name!r} to accept_content, or workers and callers refuse each other's messages."
            yield Finding("wrong", f"The serializer of {setting} is not accepted: {fix}")


def _guarantees(conf: Any) -> Iterator[Finding]:
    if conf.task_always_eager:
        yield Finding("note", "Calls run their task at once, and nothing is queued (task_always_eager).")
    if not conf.task_acks_late:
        yield Finding("note", "A task is lost when its worker is killed (task_acks_late is False).")
    if not (conf.broker_transport_options or {}).get("confirm_publish"):
        text = "A call returns before the broker has the task, which may be lost"
        yield Finding("note", f"{text} (broker_transport_options, confirm_publish).")
