"""Loads the application's settings and task modules: Celery's loader, with our defaults and our errors."""

import os
import warnings
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from celery.exceptions import DuplicateTaskNameWarning  # type: ignore[attr-defined]
from celery.loaders.app import AppLoader
from celery.loaders.default import DEFAULT_CONFIG_MODULE
from celery.utils.imports import cwd_in_path
from celery.utils.log import get_logger

import framework
from framework.celery.broker_errors import converting_errors
from framework.celery.tracebacks import EndedExceptions
from framework.config import prefix_of, settings_from
from framework.discovery import find_tasks_in_project, source_of
from framework.errors import (
    BrokenConfig,
    BrokenTaskModule,
    BrokerError,
    BrokerFileRefused,
    BrokerRefused,
    DuplicateTask,
    FrameworkError,
    describe,
    location,
)

__all__ = ["Loader"]

log = get_logger(__name__)


class Loader(AppLoader):
    """Reads ``celeryconfig.py`` over our defaults; an error of a task module names the module, file and line."""

    override_backends = {"rpc": "framework.celery.rpc_backend:RPCBackend"}  # noqa: RUF012 - Celery's own attribute

    def read_configuration(self, env: str = "CELERY_CONFIG_MODULE") -> dict[str, Any]:
        """Return the settings of ``CELERY_CONFIG_MODULE``, or of ``celeryconfig.py`` where there is one."""
        configured = os.environ.get(env)
        module = self._config_module(configured or DEFAULT_CONFIG_MODULE, required=bool(configured))
        if module is None:
            return settings_from({}, place="defaults")
        return settings_from(vars(module), place=str(module.__file__))

    def config_from_object(self, obj: Any, silent: bool = False) -> bool:  # type: ignore[override]
        """Read the settings of a module, class, dictionary or its name; see ``celery.Celery.config_from_object``."""
        found = super().config_from_object(obj, silent=silent)
        if found:
            namespace = self.app.namespace
            ours = settings_from(self._source(namespace), place=str(obj), namespace=namespace)
            super().config_from_object(ours)
        return bool(found)

    def _source(self, namespace: str | None) -> dict[str, Any]:
        """Return the names and values of the settings; of an object with a namespace, those with its prefix alone.

        A value that belongs to others may cost time or raise when it is read, such as a SECRET_KEY that is not set.
        """
        prefix = prefix_of(namespace) if namespace else ""
        return {name: self.conf[name] for name in self.conf if name.startswith(prefix)}

    def _config_module(self, name: str, *, required: bool) -> ModuleType | None:
        try:
            return self.import_from_cwd(name)
        except FrameworkError:
            raise
        except Exception as exc:
            if isinstance(exc, ModuleNotFoundError) and exc.name == name and not required:
                return None
            with cwd_in_path():
                place = location(exc, source_of(name))
            raise BrokenConfig(f"The configuration {name} cannot be read ({place}): {describe(exc)}") from exc

    @cached_property
    def default_modules(self) -> tuple[str, ...]:  # type: ignore[override]
        """The modules that a worker imports: the bundled tasks, then those of the settings."""
        ours = find_tasks_in_project(Path(framework.__file__).parent / "tasks")
        return tuple(dict.fromkeys((*ours, *super().default_modules)))

    @cached_property
    def ended_exceptions(self) -> EndedExceptions:
        """The exceptions of the runs that end."""
        return EndedExceptions()

    def on_process_cleanup(self) -> None:
        """Free the exception of a run that has ended."""
        super().on_process_cleanup()
        self.ended_exceptions.free()

    def on_worker_init(self) -> None:
        """Refuse to start on a broker that will never accept this worker.

        Raises:
            BrokerRefused: the login or the virtual host is wrong.
            BrokerFileRefused: the file is not an embedded broker.
        """
        try:
            with converting_errors(self.app), self.app.connection_for_read() as connection:
                connection.ensure_connection(max_retries=0)
        except (BrokerRefused, BrokerFileRefused):
            raise
        except BrokerError as exc:
            log.debug("The broker is not available yet, the worker waits for it: %s", exc.message)

    def import_default_modules(self) -> list[ModuleType]:
        """Import every task module.

        Raises:
            BrokenTaskModule: one cannot be imported.
            DuplicateTask: two functions have one task name.
        """
        with warnings.catch_warnings():
            # Celery keeps the first of two shared tasks of one name and warns; the second would never run.
            warnings.simplefilter("error", DuplicateTaskNameWarning)
            try:
                modules = super().import_default_modules()
                self.app.finalize(auto=True)
            except DuplicateTaskNameWarning as exc:
                raise DuplicateTask(str(exc)) from None
        return modules

    def import_task_module(self, module: str) -> ModuleType:
        """Import one task module.

        Raises:
            BrokenTaskModule: it cannot be imported; the message has module, file, line and cause.
        """
        try:
            return super().import_task_module(module)
        except FrameworkError:
            raise
        except Exception as exc:
            raise BrokenTaskModule.named(module, exc, source_of(module)) from exc
