"""The client of the parcel service, which may be slow, broken or malicious."""

import json
import re
import time
from typing import Any

import httpx

from demo.settings import api_url
from framework.errors import FrameworkError

NUMBER = re.compile(r"[A-Z]{2}[0-9]{6}", re.ASCII)
TIMEOUT = httpx.Timeout(5, connect=2)
RESPONSE_SECONDS = 10.0
RESPONSE_BYTES = 64 * 1024


class ServiceUnavailable(FrameworkError):
    """The service does not respond; a retry may help."""


class InvalidResponse(FrameworkError):
    """The service sent a response that is never valid; a retry does not help."""


def fetch(number: str) -> dict[str, Any] | None:
    """Return where a parcel is; None if the service does not know it.

    No input of a visitor is part of the host, and redirects are not followed.
    """
    if not NUMBER.fullmatch(number):
        raise ValueError(number)
    with httpx.Client(base_url=api_url(), timeout=TIMEOUT, follow_redirects=False, trust_env=False) as client:
        try:
            with client.stream("GET", f"/parcels/{number}") as response:
                return _read(response)
        except httpx.TransportError as exc:
            raise ServiceUnavailable("transport") from exc


def _read(response: httpx.Response) -> dict[str, Any] | None:
    if response.status_code == httpx.codes.NOT_FOUND:
        return None
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
        raise ServiceUnavailable(str(response.status_code))
    if response.status_code != httpx.codes.OK:
        raise InvalidResponse(str(response.status_code))
    try:
        found = json.loads(_body(response))
        return {"place": str(found["place"])[:80], "days": int(found["days"])}
    except (ValueError, KeyError, TypeError) as exc:
        raise InvalidResponse("body") from exc


def _body(response: httpx.Response) -> bytes:
    """Return the body, up to ``RESPONSE_BYTES`` within ``RESPONSE_SECONDS``."""
    end, body = time.monotonic() + RESPONSE_SECONDS, b""
    for part in response.iter_bytes():
        body += part
        if len(body) > RESPONSE_BYTES or time.monotonic() > end:
            raise InvalidResponse("too much")
    return body
