"""Asking the parcel service, which may be slow, broken or up to no good."""

import json
import re
import time
from typing import Any

import httpx

from demo.settings import api_url
from framework.errors import FrameworkError

NUMBER = re.compile(r"[A-Z]{2}[0-9]{6}", re.ASCII)
WAIT = httpx.Timeout(5, connect=2)
LONGEST = 10.0
LARGEST = 64 * 1024


class ServiceAway(FrameworkError):
    """The service does not answer now; it may in a moment."""


class StrangeAnswer(FrameworkError):
    """The service answered what it never should; asking again does not help."""


def ask(number: str) -> dict[str, Any] | None:
    """What the service knows of a parcel; None where it knows none.

    Nothing that a visitor wrote has a part in the host, and no answer leads to another one.
    """
    if not NUMBER.fullmatch(number):
        raise ValueError(number)
    with httpx.Client(base_url=api_url(), timeout=WAIT, follow_redirects=False, trust_env=False) as client:
        try:
            with client.stream("GET", f"/parcels/{number}") as answer:
                return _read(answer)
        except httpx.TransportError as exc:
            raise ServiceAway("transport") from exc


def _read(answer: httpx.Response) -> dict[str, Any] | None:
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS or answer.is_server_error:
        raise ServiceAway(str(answer.status_code))
    if answer.status_code != httpx.codes.OK:
        raise StrangeAnswer(str(answer.status_code))
    try:
        found = json.loads(_body(answer))
        return {"place": str(found["place"])[:80], "days": int(found["days"])}
    except (ValueError, KeyError, TypeError) as exc:
        raise StrangeAnswer("body") from exc


def _body(answer: httpx.Response) -> bytes:
    """The body, of a size and a time that can be borne."""
    until, body = time.monotonic() + LONGEST, b""
    for part in answer.iter_bytes():
        body += part
        if len(body) > LARGEST or time.monotonic() > until:
            raise StrangeAnswer("too much")
    return body
