"""Files of numbers, eight bytes each, which many processes append to."""

import os
from pathlib import Path

BYTES = 8


def append(folder: Path, name: str, caller: int, number: int) -> None:
    """Append a number of a caller with one write, so that it is complete after any crash."""
    file = os.open(folder / f"{name}.{caller}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, number.to_bytes(BYTES))
    finally:
        os.close(file)


def count(folder: Path, name: str, caller: int) -> int:
    """Return how many numbers of a caller there are."""
    try:
        return (folder / f"{name}.{caller}").stat().st_size // BYTES
    except FileNotFoundError:
        return 0


def read(folder: Path, name: str, caller: int) -> list[int]:
    """Return the numbers of a caller."""
    file = folder / f"{name}.{caller}"
    data = file.read_bytes() if file.exists() else b""
    return [int.from_bytes(data[place : place + BYTES]) for place in range(0, len(data) // BYTES * BYTES, BYTES)]
