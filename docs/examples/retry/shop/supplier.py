"""Stands for a service on another machine: it answers each question at the third time."""

from pathlib import Path


class Busy(Exception):
    """It asks to be left alone for so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def _times_asked(question: str) -> int:
    with Path("asked.txt").open("a+") as asked:
        asked.write(f"{question}\n")
        asked.seek(0)
        return asked.read().splitlines().count(question)


def price(part: str) -> float:
    if _times_asked(f"price of {part}") < 3:
        raise ConnectionError("The supplier does not answer.")
    return 9.5


def reserve(part: str) -> str:
    if part == "unicorn":
        raise LookupError("There is no such part.")
    if _times_asked(f"reserve {part}") < 3:
        raise Busy(seconds=0.5)
    return f"{part} is reserved"
