"""Formats times, numbers and source code for templates."""

import inspect
from datetime import datetime
from typing import Any

from flask import g

from framework.celery.celery import celery


def local_time(time: datetime) -> str:
    """Return a time in the format of the visitor's language, in the zone of the setting ``timezone``, with its name."""
    return f"{time.astimezone(celery.timezone):{g.texts['time_format']} %Z}"


def whole_number(number: float) -> str:
    """Return a number without decimals, with the thousands separator of the visitor's language."""
    return f"{number:,.0f}".replace(",", g.texts["thousands"])


def source(*functions: Any) -> str:
    """Return the source code of functions and tasks."""
    return "\n\n".join(inspect.getsource(getattr(each, "run", each)).rstrip() for each in functions)
