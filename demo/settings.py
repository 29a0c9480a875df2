"""Settings from the environment, for the web server, the worker and the external services."""

import os
from pathlib import Path


def data() -> Path:
    """Return the folder that all processes of the demo share: ``DEMO_DATA``, or ``demo/data``."""
    folder = Path(os.environ.get("DEMO_DATA") or Path(__file__).with_name("data"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def api_url() -> str:
    """Return the URL of the parcel service: ``DEMO_API_URL``."""
    return os.environ.get("DEMO_API_URL", "http://127.0.0.1:8001")
