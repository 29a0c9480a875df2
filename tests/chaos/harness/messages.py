"""Invalid messages, and valid ones with random changes."""

import base64
import gzip
import json
import pickle
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

TASK = "probe.tasks.chaos.labelled"
EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


@dataclass
class Raw:
    """A message that is published unchanged."""

    label: str
    body: bytes
    headers: dict[str, Any]
    properties: dict[str, Any] = field(default_factory=dict)


def good(label: str) -> Raw:
    """Return the message that Celery publishes for ``labelled.delay(1)``."""
    ident = str(uuid4())
    headers = {
        "lang": "py", "task": TASK, "id": ident, "shadow": None, "eta": None, "expires": None, "group": None,
        "retries": 0, "timelimit": [None, None], "root_id": ident, "parent_id": None, "argsrepr": "(1,)",
        "kwargsrepr": "{}", "origin": "chaos", "ignore_result": False, "x_label": label,
    }  # fmt: skip
    properties = {
        "content_type": "application/json", "content_encoding": "utf-8", "correlation_id": ident, "delivery_mode": 2,
    }  # fmt: skip
    return Raw(label, json.dumps([[1], {}, EMBED]).encode(), headers, properties)


def bad_messages() -> Iterator[Raw]:
    """Yield one message of each kind that ended a worker, vanished, or did harm in a test."""
    for number, (kind, change) in enumerate(KINDS.items()):
        message = good(f"bad-{number}-{kind}")
        change(message)
        yield message


def _body(value: bytes | Any) -> Callable[[Raw], None]:
    def change(message: Raw) -> None:
        message.body = value if isinstance(value, bytes) else json.dumps(value).encode()

    return change


def _header(name: str, value: Any) -> Callable[[Raw], None]:
    return lambda message: message.headers.update({name: value})


def _property(body: bytes, **changed: str) -> Callable[[Raw], None]:
    def change(message: Raw) -> None:
        message.body = body
        message.properties.update(changed)

    return change


def _compressed(body: bytes, how: str) -> Callable[[Raw], None]:
    def change(message: Raw) -> None:
        message.body = body
        message.headers["compression"] = how

    return change


def _without_headers(message: Raw) -> None:
    message.headers = {"x_label": message.label}
    message.body = b"\x00\xff garbage"


YEAR_9999 = "9999-12-31T23:59:59+00:00"
SNEAKED = {**EMBED, "callbacks": [{"task": "no.such.task", "args": [], "kwargs": {}, "options": {}}]}
KINDS: dict[str, Callable[[Raw], None]] = {
    "body-42": _body(42),
    "body-empty-list": _body([]),
    "body-text": _body("text"),
    "body-null": _body(None),
    "body-nothing": _body(b""),
    "id-missing": lambda message: message.headers.pop("id"),
    "id-list": _header("id", [1]),
    "task-list": _header("task", ["a", "b"]),
    "task-int": _header("task", 7),
    "task-none": _header("task", None),
    "timelimit-zz": _header("timelimit", "zz"),
    "timelimit-pair-of-text": _header("timelimit", ["a", "b"]),
    "retries-text": _header("retries", "many"),
    "nested-100000": _body(b"[" * 100_000),
    "bad-json": _body(b"[[1], {}, {"),
    "corrupt-gzip": _compressed(b"this is not gzip", "application/x-gzip"),
    "bomb": _compressed(base64.b64encode(zlib.compress(b"0" * 10_000_000)), "application/x-zlib"),
    "pickle": _property(
        pickle.dumps(((1,), {}, EMBED)), content_type="application/x-python-serialize", content_encoding="binary"
    ),
    "yaml": _property(b"- [1]\n- {}\n- {}\n", content_type="application/x-yaml"),
    "unknown-content-type": _property(b"?", content_type="application/x-unheard-of"),
    "unknown-encoding": _property(b"[[1], {}, {}]", content_encoding="klingon"),
    "no-headers": _without_headers,
    "unregistered": _header("task", "no.such.task"),
    "eta-text": _header("eta", "tomorrow, or so"),
    "eta-9999": _header("eta", YEAR_9999),
    "expires-list": _header("expires", [1]),
    "arguments-not-a-list": _body([7, {}, EMBED]),
    "too-many-arguments": _body([[1, 2, 3, 4], {}, EMBED]),
    "keyword-list": _body([[1], ["a"], EMBED]),
    "embed-text": _body([[1], {}, "text"]),
    "kwargs-with-int-key": _body(b'[[1], {"1": 2}, {}]'),
    "gzip-unasked": _compressed(gzip.compress(json.dumps([[1], {}, EMBED]).encode()), "application/x-gzip"),
}

ODD: list[Any] = [
    None, True, -1, 0, 3.7, 2**40, "", "zz", "\x00", "ñ" * 300, [], [1], [None, "a"], {}, {"a": {"b": []}}, [[[]]],
]  # fmt: skip


def fuzzed(count: int, seed: int) -> Iterator[Raw]:
    """Yield valid messages with one to three random changes, none of which is an expiry in the past."""
    chance = random.Random(seed)
    for number in range(count):
        message = good(f"fuzz-{seed}-{number}")
        for _ in range(chance.randint(1, 3)):
            chance.choice([_fuzz_header, _fuzz_bytes, _fuzz_part, _fuzz_property])(message, chance)
        message.headers["x_label"] = message.label
        yield message


def _fuzz_header(message: Raw, chance: random.Random) -> None:
    name = chance.choice([name for name in message.headers if name not in ("x_label", "expires")] + ["compression"])
    if chance.random() < 0.2:
        message.headers.pop(name, None)
    else:
        message.headers[name] = chance.choice(ODD)


def _fuzz_bytes(message: Raw, chance: random.Random) -> None:
    body = bytearray(message.body or b"x")
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(body))
        body[place : place + chance.randint(0, 2)] = chance.randbytes(chance.randint(0, 3))
        body = body or bytearray(b"x")
    message.body = bytes(body)


def _fuzz_part(message: Raw, chance: random.Random) -> None:
    parts: list[Any] = [[1], {}, dict(EMBED)]
    place = chance.randrange(4)
    if place < 3:
        parts[place] = chance.choice(ODD)
    else:
        parts[2][chance.choice(list(EMBED))] = chance.choice(ODD)
    message.body = json.dumps(parts).encode()


def _fuzz_property(message: Raw, chance: random.Random) -> None:
    name = chance.choice(["content_type", "content_encoding", "correlation_id", "reply_to"])
    message.properties[name] = chance.choice(["", "zz", "application/json", "utf-16", "binary", "text/plain", "ñ" * 80])
