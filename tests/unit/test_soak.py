"""The judgement of the soak: what grows over a run is found, noise and warm-up are left alone."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/soak/growth.py"
MEGABYTE = 1 << 20


def loaded():
    spec = importlib.util.spec_from_file_location("growth", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


soak = loaded()


def growth_of(figure, *, kind="memory", seconds=1000):
    """The growth of a figure, given as a function of the second."""
    return soak.growth([(at, figure(at)) for at in range(seconds + 1)], 0, seconds, soak.TOLERANCES[kind])


def test_half_a_kilobyte_for_each_of_a_million_tasks_is_found():
    leak = growth_of(lambda at: 58 * MEGABYTE + 512 * 1000 * at)

    assert not leak.ok


def test_growth_within_five_percent_is_flat():
    assert growth_of(lambda at: (100 + at / 1000 * 5) * MEGABYTE).ok


@pytest.mark.parametrize(("kind", "first", "grown"), [("threads", 4, 2), ("descriptors", 20, 3), ("timers", 300, 600)])
def test_growth_of_a_small_figure_within_its_tolerance_is_flat_and_one_more_is_not(kind, first, grown):
    assert growth_of(lambda at: first if at < 500 else first + grown, kind=kind).ok
    assert not growth_of(lambda at: first if at < 500 else first + grown + 1, kind=kind).ok


def test_warm_up_does_not_count():
    assert growth_of(lambda at: (20 if at < 99 else 80) * MEGABYTE).ok


def test_a_single_peak_at_the_end_does_not_count():
    assert growth_of(lambda at: (1000 if at == 1000 else 50) * MEGABYTE).ok


def test_a_process_that_ended_early_is_found():
    samples = [(at, 50 * MEGABYTE) for at in range(500)]

    assert not soak.growth(samples, 0, 1000, soak.TOLERANCES["memory"]).ok


def test_a_run_of_half_a_minute_is_judged_by_windows_of_seconds():
    leak = growth_of(lambda at: (50 + at) * MEGABYTE, seconds=25)

    assert (leak.first, leak.last) == (64 * MEGABYTE, 73 * MEGABYTE)
    assert not leak.ok
