"""Which brokers a row runs on; plain Celery is measured in full runs, and where a short run can show it."""

import pytest
from harness.rig import FULL


def on(*profiles: str, plain: bool = FULL) -> pytest.MarkDecorator:
    """Run the row on each of these; ``plain``: measure plain Celery too."""
    return pytest.mark.parametrize("rig", ["vanilla", *profiles] if plain else list(profiles), indirect=True)


everywhere = on("rabbitmq", "sqlite")
on_a_server = on("rabbitmq")
full_only = pytest.mark.skipif(not FULL, reason="takes minutes; `make chaos` runs it")
