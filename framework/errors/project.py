"""Errors of a project: its settings, task modules and environment."""

from collections.abc import Collection
from pathlib import Path
from typing import Self

from framework.errors.base import FrameworkError, describe, location, location_in, message


class UnknownSetting(FrameworkError):
    """A name in the configuration is no setting."""

    @classmethod
    def named(cls, name: str, close: Collection[str], place: str) -> Self:
        """Say which name is unknown, where it stands and which one is nearest."""
        fix = f"Did you mean {next(iter(close))!r}?" if close else "A name of your own starts with an underscore."
        other = "(A setting of another package is declared with third_party_settings.)"
        return cls(message(f"{place}: {name!r} is not a setting", fix=f"{fix} {other}"))


class BrokenConfig(FrameworkError):
    """The configuration module that was named is missing, or cannot be imported."""


class BrokenApp(FrameworkError):
    """The application that was named is missing, or cannot be imported."""

    @classmethod
    def named(cls, name: str, cause: BaseException) -> Self:
        """Name it and the cause, with the project's file and line where it comes from one, or what a name is."""
        if place := location_in(Path.cwd(), cause):
            return cls(message(f"The application {name} cannot be imported ({place})", describe(cause)))
        fix = "-A takes MODULE or MODULE:NAME, as seen from the project's folder (--workdir)."
        return cls(message(f"The application {name} cannot be imported", describe(cause), fix=fix))


class DiscoveryError(FrameworkError):
    """Tasks could not be looked for."""


class BrokenTaskModule(FrameworkError):
    """A task module cannot be imported."""

    @classmethod
    def named(cls, module: str, cause: BaseException, path: Path | None) -> Self:
        """Say which module, in which file and line, and the cause."""
        return cls(f"The task module {module} cannot be imported ({location(cause, path)}): {describe(cause)}")


class DuplicateTask(FrameworkError):
    """Two functions want one task name."""

    @classmethod
    def named(cls, name: str, first: str, second: str) -> Self:
        """Name both places."""
        return cls(
            message(
                f"Two tasks are called {name!r}",
                f"{first} and {second}",
                fix="Rename one of the functions, or give it another name: @celery.task(name=...).",
            )
        )


class BadEnvironment(FrameworkError, ValueError):
    """An environment variable has a value that cannot be used."""

    @classmethod
    def of(cls, name: str, value: str, wanted: str) -> Self:
        """Name the variable, its value, and the values it takes."""
        return cls(message(f"The environment variable {name} is {value!r}", f"it must be {wanted}"))


class MissingExtra(FrameworkError, ImportError):
    """An optional package is not installed."""

    @classmethod
    def named(cls, package: str, extra: str) -> Self:
        """Name the package and the extra that installs it."""
        return cls(message(f"The package {package} is not installed", fix=f'pip install "omstd-framework[{extra}]"'))
