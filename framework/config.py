"""The settings: our defaults, then the project's ``celeryconfig.py``; Celery's own environment variables come last.

Every setting of Celery keeps its name and meaning. `DEFAULTS` has the differences from Celery, each with its reason.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from types import ModuleType
from typing import Any

from celery.app.defaults import NAMESPACES, SETTING_KEYS, Option, flatten

from framework.errors import FrameworkWarning, UnknownSetting

__all__ = ["DEFAULTS", "LAUNCHER_FD_VARIABLE", "READY_FD_VARIABLE", "prefix_of", "setting", "settings_from"]

#: The environment variable with the number of the file descriptor that a worker or beat reports to once it is ready.
READY_FD_VARIABLE = "FRAMEWORK_READY_FD"

#: The environment variable with the number of the file descriptor that is at its end once the launcher of a worker or
#: beat is gone.
LAUNCHER_FD_VARIABLE = "FRAMEWORK_LAUNCHER_FD"

DEFAULTS: dict[str, Any] = {
    # The only server needed is the broker, so results come back over it.
    "broker_url": "amqp://guest:guest@localhost:5672//",
    "result_backend": "rpc://",
    # A publish that returned is on the broker's disk.
    "broker_transport_options": {"confirm_publish": True},
    # Seconds between heartbeats: a peer that vanished is noticed after two.
    "broker_heartbeat": 10,
    # A channel that the broker closed is opened again; the worker's main process continues.
    "broker_channel_error_retry": True,
    # A worker that comes up before its broker waits for it.
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    # A task is acknowledged after it has run: the tasks of a killed worker or pool child are run again.
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    # A task whose worker lost its connection is run again elsewhere, so it stops here.
    "worker_cancel_long_running_tasks_on_connection_loss": True,
    # SIGQUIT (and SIGTERM with REMAP_SIGTERM=SIGQUIT) lets tasks end for so many seconds, within docker stop's ten.
    "worker_soft_shutdown_timeout": 8.0,
    # RabbitMQ closes a channel that holds a message for 30 minutes; a task that long is ended first.
    "task_time_limit": 1740,
    # With late acknowledgement, prefetched tasks wait for the running one.
    "worker_prefetch_multiplier": 1,
    # Redeliveries after which the broker dead-letters a task, such as one that kills its worker.
    "task_delivery_limit": 5,
    # The queue of failed tasks, to be read and sent again.
    "task_failed_queue": "celery.failed",
    # Arguments whose values are redacted, at any depth; ``*`` stands for any part, case does not matter.
    "task_redacted_arguments": (
        "*password*",
        "passwd",
        "*secret*",
        "*token*",
        "*api_key*",
        "*apikey*",
        "authorization",
        "card*",
        "cvv",
        "iban",
    ),
    # Seconds that a call may take in all: it survives a short restart of the broker, and raises in time.
    "task_publish_timeout": 9.0,
    "task_publish_retry_policy": {
        "max_retries": None,
        "interval_start": 0.1,
        "interval_step": 0.1,
        "interval_max": 0.5,
    },
    # The task of a dead pool process is redelivered and counted by the broker, not run again by the pool.
    "worker_pool": "framework.celery.prefork:TaskPool",
    # No message ends a worker, and none is discarded.
    "worker_consumer": "framework.celery.consumer:Consumer",
    # Beat may run on any number of servers: one leads, and each slot is sent once.
    "beat_scheduler": "framework.schedule.scheduler:Scheduler",
    # The queue whose active consumer leads, and which holds the state of the schedule.
    "beat_queue": "celery.schedule",
    # Bytes of the largest body that a call sends and a worker takes, not compressed.
    "task_message_max_bytes": 16 * 1024 * 1024,
    # Names that ``send_task`` may use although their code lives in another project; ``*`` stands for any part.
    "task_remote_names": (),
    # Seconds for which the last state of a task is stored after it was reported, and of how many tasks at a time.
    "task_state_expires": 2 * 3600,
    "task_state_max": 5000,
    # Keys (visitors, say) of one limit that have their own tokens at a time; more of them share some buckets.
    "task_limit_keys": 5000,
    # Settings of other packages that read Celery's configuration, such as ``redbeat_*``.
    "third_party_settings": (),
}


def setting(app: Any, name: str) -> Any:
    """Return a setting of an application, also of one that does not have our defaults."""
    return app.conf.get(name, DEFAULTS[name])


def _old_names(namespace: str, key: str, option: Option) -> Iterator[tuple[str, str]]:
    """Yield pairs of a name of Celery 3 and its current name, from Celery's own table."""
    for old in option.old or {namespace + key}:
        yield old.format(key).upper(), namespace + key


# Celery itself has forgotten the old name of enable_utc, which every configuration of Celery 3 has.
RENAMED: dict[str, str] = dict(flatten(NAMESPACES, keyfilter=_old_names)) | {"CELERY_ENABLE_UTC": "enable_utc"}


def settings_from(source: Mapping[str, Any], *, place: str, namespace: str | None = None) -> dict[str, Any]:
    """Return all settings: `DEFAULTS`, updated with ``source``, under their current names.

    Args:
        source: names and values, as a settings module or a dictionary holds them.
        place: where ``source`` is, for messages: a file or module.
        namespace: the prefix of settings in a module that has others too (Django's ``CELERY``).

    Raises:
        UnknownSetting: a name is no setting; the message has the nearest one. With a namespace, which other packages
            use too, a name that is near no setting is only warned about.
    """
    theirs = _without_prefix(source, namespace) if namespace else source
    allowed = theirs.get("third_party_settings", ())
    found = {name: value for name, value in theirs.items() if _is_known(name, allowed)}
    unknown = [name for name, value in theirs.items() if name not in found and _looks_like_setting(name, value)]
    foreign = [name for name in unknown if namespace and not _nearest(name)]
    for name in [name for name in unknown if name not in foreign]:
        found.setdefault(_current_name(name, place), theirs[name])
    if namespace and foreign:
        _note_foreign(foreign, place, prefix_of(namespace))
        found |= {name: theirs[name] for name in foreign}
    options = "broker_transport_options"  # merged: a project that sets a timeout keeps the confirms
    return DEFAULTS | found | {options: DEFAULTS[options] | dict(found.get(options) or {})}


def prefix_of(namespace: str) -> str:
    """Return the prefix of the settings in a namespace."""
    return namespace if namespace.endswith("_") else f"{namespace}_"


def _without_prefix(source: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    prefix = prefix_of(namespace)
    return {name.removeprefix(prefix).lower(): source[name] for name in source if name.startswith(prefix)}


def _is_known(name: str, allowed: Iterable[str]) -> bool:
    return name in SETTING_KEYS or name in DEFAULTS or any(fnmatchcase(name, pattern) for pattern in allowed)


def _looks_like_setting(name: str, value: object) -> bool:
    """Return whether an unknown name looks like a setting: neither private nor imported by the module."""
    imported = isinstance(value, ModuleType | type) or (callable(value) and hasattr(value, "__name__"))
    return not (name.startswith("_") or imported)


def _nearest(name: str) -> list[str]:
    """Return the setting that a name may be a typo of, in a list; an empty one where it is near none."""
    return get_close_matches(name.lower(), SETTING_KEYS | DEFAULTS.keys(), n=1, cutoff=0.75)


def _note_foreign(names: Iterable[str], place: str, prefix: str) -> None:
    listed = ", ".join(sorted(f"{prefix}{name.upper()}" for name in names))
    fix = f"if it belongs to another package, declare it with {prefix}THIRD_PARTY_SETTINGS."
    warnings.warn(f"{place}: neither Celery nor the framework reads {listed}; {fix}", FrameworkWarning, stacklevel=3)


def _current_name(name: str, place: str) -> str:
    if name in RENAMED:
        new = RENAMED[name]
        warnings.warn(f"{place}: the setting {name} is called {new} today; rename it.", FrameworkWarning, stacklevel=2)
        return new
    close = _nearest(name)
    # A constant of the project, such as BASE_DIR, is no setting; Celery does not read it either.
    if name.isupper() and not close and not name.startswith(("CELERY", "BROKER")):
        return name
    raise UnknownSetting.named(name, close, place)
