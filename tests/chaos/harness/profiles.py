"""The brokers that a row runs on, in the full run and in the short one."""

from collections.abc import Collection

import pytest

EVERYWHERE = ("vanilla", "rabbitmq", "sqlite")
ON_A_SERVER = ("vanilla", "rabbitmq")
OURS = ("rabbitmq", "sqlite")


def on(profiles: Collection[str], *, short: Collection[str] = ()) -> pytest.MarkDecorator:
    """Run the row on each of ``profiles``; the short run has only those of ``short``."""
    return pytest.mark.parametrize("rig", [_param(name, short) for name in profiles], indirect=True)


def _param(name: str, short: Collection[str]) -> object:
    return name if name in short else pytest.param(name, marks=pytest.mark.full_run)
