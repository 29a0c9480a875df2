"""The code map in CONTRIBUTING names files and packages that exist."""

import re
from pathlib import Path

import framework

ROOT = Path(__file__).parents[2]
LIBRARY = Path(framework.__file__).parent


def code_map():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return text.partition("## Code map")[2].partition("\n## ")[0]


def test_every_file_of_the_code_map_exists():
    named = set(re.findall(r"`((?:\w+/)+\w+\.py)`", code_map()))
    missing = sorted(file for file in named if not (LIBRARY / file).exists() and not (ROOT / file).exists())

    assert len(named) > 20
    assert missing == []


def test_every_package_of_the_library_is_in_the_code_map():
    packages = {folder.name for folder in LIBRARY.iterdir() if (folder / "__init__.py").is_file()}

    assert {package for package in packages if f"`{package}`" not in code_map()} == set()


def test_at_least_ten_searches_end_at_a_file():
    rows = [line for line in code_map().splitlines() if "?" in line and line.startswith("|")]

    assert sum(".py`" in line for line in rows) >= 10
