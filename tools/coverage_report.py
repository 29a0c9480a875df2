"""Prints the coverage of lines and branches: a line for each package of ``framework``, and the total.

``make test`` calls it. It counts the code that runs in the processes of pytest. Workers and commands that tests start
are not measured: it would make each of them start a third slower, and those that a test kills leave no data.
"""

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from coverage import Coverage
from coverage.exceptions import NoDataError

ROOT = Path(__file__).resolve().parents[1]


def package_of(file: str) -> str:
    """Return the package below ``framework`` that a file is counted for, or ``framework`` for a module beside them."""
    parts = Path(file).parts
    return ".".join(parts[:2] if len(parts) > 2 else parts[:1])


def measured() -> dict[str, Any]:
    """Return the summary of each file, by its path from the root.

    Raises:
        NoDataError: No test has been measured.
    """
    coverage = Coverage(data_file=str(ROOT / ".coverage"), config_file=str(ROOT / "pyproject.toml"))
    coverage.load()
    with TemporaryDirectory() as folder:
        report = Path(folder, "coverage.json")
        coverage.json_report(outfile=str(report))
        files = json.loads(report.read_text())["files"]
    return {file: found["summary"] for file, found in files.items()}


def line(name: str, numbers: Counter[str]) -> str:
    """Return a line of the table."""
    lines = percent(numbers["covered_lines"], numbers["num_statements"])
    branches = percent(numbers["covered_branches"], numbers["num_branches"])
    return f"{name:24}{numbers['num_statements']:8}{lines:>8}{numbers['num_branches']:10}{branches:>8}"


def percent(covered: int, total: int) -> str:
    """Return a share, rounded down, so that only complete coverage is 100 %."""
    return f"{100 * covered // total} %" if total else "-"


def main() -> int:
    """Print the table and return 0: the coverage is a number, not a test."""
    try:
        files = measured()
    except NoDataError:
        print("Coverage: nothing was measured.", file=sys.stderr)
        return 0
    packages: dict[str, Counter[str]] = defaultdict(Counter)
    for file, summary in files.items():
        numbers = {name: number for name, number in summary.items() if isinstance(number, int)}
        packages[package_of(file)].update(numbers)
    print(f"\n{'Coverage':24}{'lines':>8}{'':8}{'branches':>10}")
    for name in sorted(packages):
        print(line(name, packages[name]))
    print(line("total", sum(packages.values(), Counter())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
