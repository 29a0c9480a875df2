"""A year of random sales, and their statistics."""

import csv
import random
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import astuple, dataclass, fields
from itertools import islice
from pathlib import Path

REGIONS = ("Madrid", "Cataluña", "Andalucía", "Galicia")
#: The share of each month in the sales.
MONTH_WEIGHTS = (9, 6, 6, 7, 8, 9, 11, 5, 7, 8, 12, 16)
BATCH_ROWS = 10_000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Row:
    """A month in a region: the count of sales, their sum and mean, and the confidence interval of the mean."""

    month: int
    region: str
    sales: int
    euros: float
    mean: float
    low: float
    high: float


def create(folder: Path, rows: int) -> Path:
    """Create the database with the sales if it does not exist; return its path."""
    path = folder / f"sales-{rows}.db"
    if not path.exists():
        part = path.with_suffix(f".{random.randrange(2**32)}")
        with closing(sqlite3.connect(part)) as database, database:
            database.execute("CREATE TABLE sales (month INTEGER, region TEXT, euros REAL)")
            sales = _sales(rows)
            while batch := list(islice(sales, BATCH_ROWS)):
                database.executemany("INSERT INTO sales VALUES (?, ?, ?)", batch)
            database.execute("CREATE INDEX by_group ON sales (month, region)")
        part.replace(path)
    return path


def _sales(rows: int) -> Iterator[tuple[int, str, float]]:
    chance = random.Random(rows)
    for month in chance.choices(range(1, 13), MONTH_WEIGHTS, k=rows):
        yield month, chance.choice(REGIONS), round(chance.lognormvariate(4, 0.8), 2)


def groups(database: sqlite3.Connection) -> list[tuple[int, str]]:
    """Return the months and regions that have sales."""
    return database.execute("SELECT DISTINCT month, region FROM sales ORDER BY month, region").fetchall()


def amounts(database: sqlite3.Connection, month: int, region: str) -> list[float]:
    """Return the euros of each sale of a month in a region."""
    found = database.execute("SELECT euros FROM sales WHERE month = ? AND region = ? ORDER BY rowid", (month, region))
    return [euros for (euros,) in found]


def row(month: int, region: str, euros: list[float], rounds: Iterable[int]) -> Row:
    """Return the statistics of a month in a region; the interval comes from samples of its sales (the bootstrap)."""
    chance, count = random.Random(f"{month} {region}"), len(euros)
    means = sorted(sum(chance.choices(euros, k=count)) / count for _ in rounds)
    low, high = means[int(len(means) * (1 - CONFIDENCE) / 2)], means[int(len(means) * (1 + CONFIDENCE) / 2)]
    figures = sum(euros), sum(euros) / count, low, high
    return Row(month, region, count, *(round(figure, 2) for figure in figures))


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write a report atomically: the file is complete, or does not exist."""
    part = path.with_suffix(f".{random.randrange(2**32)}")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(field.name for field in fields(Row))
        writer.writerows(astuple(row) for row in rows)
    part.replace(path)


def months(path: Path) -> list[tuple[int, float]]:
    """Return the euros of each month, from a report's file."""
    sums: dict[int, float] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for found in csv.DictReader(file):
            sums[int(found["month"])] = sums.get(int(found["month"]), 0.0) + float(found["euros"])
    return sorted(sums.items())
