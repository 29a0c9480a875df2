"""Removes what only this machine has from a terminal's output, and compares the output of two runs."""

import re
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import reduce

ELLIPSIS = "..."
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|[\x00-\x08\x0e-\x1f]")
# Celery warns root; a reader of the guide is another user.
ROOT_WARNING = re.compile(
    r"^\S+: SecurityWarning: .*?^\s+_warn_or_raise_security_error\(.*?\n", re.MULTILINE | re.DOTALL
)
# What differs from run to run, and the placeholder for it in comparisons.
PLACEHOLDERS = [
    (re.compile(pattern), placeholder)
    for pattern, placeholder in {
        r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b": "ID",
        r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d([.,]\d+)?)?": "TIME",
        r"(?<![\w.])\d[\d,]*(\.\d+)?(e-\d+)? ?(s|ms|seconds?|minutes?|hours?)\b": "SPAN",
        r"\b(amqp|sqlite)://[^\s)]+": "BROKER",
        r"\b0x[0-9a-f]+\b": "ADDRESS",
        r"\bup-\d+": "up-PID",
        r"\blocalhost:\d+ ": "localhost:PID ",
        r"^\[\d+\] \d+$": "JOB",
        r"PoolWorker-\d+": "PoolWorker",
        r"\b(Linux|macOS|Darwin)-\S+": "SYSTEM",
        r"\b\d+ \(prefork\)|\b\d+ process(es)?\b": "PROCESSES",
        r"v?\d+\.\d+\.\d+\b": "VERSION",
        r"\bruns \d+": "runs N",
        r"\bCES?T\b": "ZONE",
        r"\s+": " ",
    }.items()
]


def cleaned(text: str, here: Mapping[str, str]) -> str:
    """Return the text with names of this machine replaced as in `here`, and progress bars in their last state."""
    text = CONTROL.sub("", text.replace("\r\n", "\n"))
    text = "\n".join(_last_state(line) for line in text.split("\n"))
    for name, common in {**here, socket.gethostname(): "localhost"}.items():
        text = re.sub(rf"(?<![\w-]){re.escape(name)}", common, text)
    text = re.sub(r"\b(Linux)-\S+-(x86_64|aarch64)\S*", r"\1-\2", ROOT_WARNING.sub("", text))
    return "".join(f"{line.rstrip()}\n" for line in text.strip("\n").split("\n") if text.strip())


def same(expected: str, output: str) -> bool:
    """Return whether the output is as expected; a line ``...`` stands for any lines.

    The order of lines does not matter, since several processes write them.
    """
    want, have = Counter(_comparable(expected)), Counter(_comparable(output))
    elided = want.pop(ELLIPSIS, 0)
    return want <= have if elided else want == have


def difference(expected: str, output: str) -> str:
    """Return the expected lines that are missing, and the lines that were not expected."""
    want, have = Counter(_comparable(expected)), Counter(_comparable(output))
    elided = want.pop(ELLIPSIS, 0)
    lines = [f"- {line}" for line in want - have] + [f"+ {line}" for line in (have - want if not elided else ())]
    return "\n".join([*lines, "Output:", output])


def _last_state(line: str) -> str:
    """Return the last state of a line that was overwritten."""
    return next((state for state in reversed(line.split("\r")) if state.strip()), "")


def _comparable(text: str) -> Iterator[str]:
    for line in text.splitlines():
        common = reduce(lambda part, pair: pair[0].sub(pair[1], part), PLACEHOLDERS, line).strip()
        if common:
            yield common
