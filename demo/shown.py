"""How templates show moments, figures and code."""

import inspect
from datetime import datetime, tzinfo
from typing import Any

from flask import g


def moment(at: datetime, zone: tzinfo | None = None) -> str:
    """A moment as the visitor's language has it, in a zone or in this machine's."""
    return f"{at.astimezone(zone):{g.texts['moment']}}"


def figure(number: float) -> str:
    """A whole number with the language's separator of thousands."""
    return f"{number:,.0f}".replace(",", g.texts["thousands"])


def source(*things: Any) -> str:
    """The code of functions and tasks, as it is run."""
    return "\n\n".join(inspect.getsource(getattr(thing, "run", thing)).rstrip() for thing in things)
