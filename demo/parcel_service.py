"""The parcel service: a slow and unreliable third-party API. The last digit of the number decides the response.

7 gives 503 twice, 3 always gives 503, 0 is unknown, 9 redirects to another host. More than five requests in a second
give 429. Every response is delayed.
"""

import json
import time
from collections import Counter, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from random import Random
from threading import Lock

PLACES = ("Alcalá de Henares", "Zaragoza", "Vitoria-Gasteiz", "Córdoba")
REQUESTS_PER_SECOND = 5
REFUSALS = 2


class ParcelService(ThreadingHTTPServer):
    """Answers ``GET /parcels/NUMBER``; ``delay`` is in seconds."""

    def __init__(self, address: tuple[str, int], delay: float) -> None:
        super().__init__(address, Handler)
        self.delay = delay
        self.requests: Counter[str] = Counter()
        self._recent: deque[float] = deque(maxlen=REQUESTS_PER_SECOND)
        self._lock = Lock()

    def is_too_fast(self, number: str) -> bool:
        """Count a request; return whether there were too many in this second."""
        with self._lock:
            now = time.monotonic()
            if len(self._recent) == REQUESTS_PER_SECOND and now - self._recent[0] < 1:
                return True
            self._recent.append(now)
            self.requests[number] += 1
            return False


class Handler(BaseHTTPRequestHandler):
    """Responds to one request."""

    server: ParcelService

    def do_GET(self) -> None:
        """Send where a parcel is."""
        number = PurePosixPath(self.path).name
        if self.server.is_too_fast(number):
            self._respond(429)
            return
        time.sleep(self.server.delay)
        if number.endswith("9"):
            self._respond(302, Location="http://192.0.2.1/")
        elif number.endswith("0"):
            self._respond(404)
        elif number.endswith("3") or (number.endswith("7") and self.server.requests[number] <= REFUSALS):
            self._respond(503)
        else:
            self._respond(200, json.dumps(_parcel(number)).encode())

    def _respond(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def _parcel(number: str) -> dict[str, object]:
    chance = Random(number)
    return {"place": chance.choice(PLACES), "days": chance.randint(2, 5)}
