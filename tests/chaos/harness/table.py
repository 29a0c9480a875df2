"""The table at the end of a run, and the same as JSON."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.figures import Figures

HEAD = ("fault", "broker", "load", "lost", "twice", "raised", "slowest s", "remarks")


@dataclass(frozen=True)
class Row:
    """One fault on one broker, with the framework or with plain Celery.

    ``measured`` are figures for the guide, with a name of the row in it.
    """

    fault: str
    profile: str
    load: str
    figures: Figures
    remarks: str = ""
    measured: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def table(rows: Iterable[Row]) -> list[str]:
    """Return a line for each fault and broker, with plain Celery's figures in brackets."""
    rows = list(rows)
    plain = {row.fault: row for row in rows if row.profile == "vanilla"}
    ours = [row for row in rows if row.profile != "vanilla"]
    on_a_server = {row.fault for row in ours if row.profile != "sqlite"}
    alone = [row for fault, row in plain.items() if fault not in on_a_server]
    beside = {id(row): plain.get(row.fault) for row in ours if row.profile != "sqlite"}
    cells = [HEAD, *(_cells(row, beside.get(id(row))) for row in [*ours, *alone])]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEAD))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _cells(row: Row, plain: Row | None) -> tuple[str, ...]:
    def both(name: str, form: str = "d") -> str:
        own = format(getattr(row.figures, name), form)
        return f"{own} [{format(getattr(plain.figures, name), form)}]" if plain else own

    remarks = "; ".join(filter(None, [row.remarks, f"[{plain.remarks}]" if plain and plain.remarks else ""]))
    slowest = both("slowest", ".2f")
    return (row.fault, row.profile, row.load, both("lost"), both("duplicated"), both("raised"), slowest, remarks)


def write_json(rows: Iterable[Row], path: Path) -> None:
    """Write all rows, with all their figures."""
    path.write_text(json.dumps([row.as_json() for row in rows], indent=1) + "\n")


def write_measured(rows: Iterable[Row], path: Path) -> None:
    """Replace the guide's figures that were measured again, and keep the others."""
    new = {row.measured["row"]: row.measured for row in rows if row.measured}
    old = {record["row"]: record for record in json.loads(path.read_text())} if path.exists() else {}
    if new:
        path.write_text(json.dumps(list((old | new).values()), indent=1) + "\n")
