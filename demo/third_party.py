"""The parcel service: somebody else's API, with the manners of such. The number's last digit says what happens.

7 is answered with 503 twice, 3 with 503 for ever, 0 is not known, 9 leads to another host. Whoever asks more than five
times in a second is sent away with 429. Every answer takes its time.
"""

import json
import time
from collections import Counter, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from random import Random
from threading import Lock

PLACES = ("Alcalá de Henares", "Zaragoza", "Vitoria-Gasteiz", "Córdoba")
MOST_PER_SECOND = 5
REFUSALS = 2


class ParcelService(ThreadingHTTPServer):
    """Answers ``GET /parcels/NUMBER``; ``delay`` is in seconds."""

    def __init__(self, address: tuple[str, int], delay: float) -> None:
        super().__init__(address, Answer)
        self.delay = delay
        self.asked: Counter[str] = Counter()
        self._recent: deque[float] = deque(maxlen=MOST_PER_SECOND)
        self._lock = Lock()

    def is_too_fast(self, number: str) -> bool:
        """Note that somebody asked; whether there were too many in this second."""
        with self._lock:
            now = time.monotonic()
            if len(self._recent) == MOST_PER_SECOND and now - self._recent[0] < 1:
                return True
            self._recent.append(now)
            self.asked[number] += 1
            return False


class Answer(BaseHTTPRequestHandler):
    """One question, one answer."""

    server: ParcelService

    def do_GET(self) -> None:
        """Say where a parcel is."""
        number = PurePosixPath(self.path).name
        if self.server.is_too_fast(number):
            self._answer(429)
            return
        time.sleep(self.server.delay)
        if number.endswith("9"):
            self._answer(302, Location="http://192.0.2.1/")
        elif number.endswith("0"):
            self._answer(404)
        elif number.endswith("3") or (number.endswith("7") and self.server.asked[number] <= REFUSALS):
            self._answer(503)
        else:
            self._answer(200, json.dumps(_parcel(number)).encode())

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing in the terminal."""


def _parcel(number: str) -> dict[str, object]:
    chance = Random(number)
    return {"place": chance.choice(PLACES), "days": chance.randint(2, 5)}
