"""Lines of the output are as wide as the terminal."""

import pytest

from framework.cli.text import WIDTH, truncated


@pytest.mark.parametrize("columns", [40, 120])
def test_a_line_is_cut_to_the_width_of_the_terminal(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))

    assert truncated("x" * 200) == "x" * (columns - 1) + "…"
    assert truncated("x" * columns) == "x" * columns


def test_a_given_width_wins(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")

    assert len(truncated("x" * 200, WIDTH)) == WIDTH
