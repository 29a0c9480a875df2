"""A long run of all kinds of tasks, to find what grows: ``python benchmarks/soak [--broker sqlite|rabbitmq]``.

On each broker: two workers with two processes each, two processes that call tasks, and one that retries and drops
failed tasks. Among the tasks are failures, retries, delays, limits, unique and tracked ones, and results. Sampled are
memory, file descriptors and threads of each process, the timers of the workers, the queues of the broker, and the
files of the embedded one. The run fails if a figure has grown by more than 5 % between the second and the last tenth of
it, if a task is lost or fails unexpectedly, or if a call raises.

``SOAK_SCALE=0.01`` makes a hundredth of the calls, for at least half a minute on each broker, of which twelve seconds
are warm-up. The results go to ``soak.json`` in ``benchmarks/results``, those of a short run in ``build``.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import probes
from growth import MEGABYTE
from run import ROOT, Soak

from framework.testing.rabbitmq import RabbitMQ

SCALE = float(os.environ.get("SOAK_SCALE", "1"))
CALLS = {"sqlite": 1_000_000, "rabbitmq": 300_000}
COURSE_VALUES = 40
SAMPLE_SECONDS = 2.0 if SCALE > 0.1 else 0.5


def soak(broker: str) -> dict[str, Any]:
    """Run on a broker, print the table and return the results."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        server = stack.enter_context(RabbitMQ()) if broker == "rabbitmq" else None
        url = server.vhost() if server else f"sqlite:///{folder}/broker.db"
        run = Soak(folder, url, round(CALLS[broker] * SCALE), SAMPLE_SECONDS, stack)
        run.run(probes.rabbitmq(server, url) if server else probes.embedded(folder / "broker.db"))
        results = results_of(run)
    print(f"{broker}:", *table(results), sep="\n")
    return results


def results_of(run: Soak) -> dict[str, Any]:
    """Return all figures of a run, and the names of those that failed it."""
    growths, counts = run.growths(), run.counts()
    grown = [name for name, grown in growths.items() if not grown.ok]
    return {
        "seconds": round(run.end - run.begin),
        "calls": counts,
        "figures": {
            name: {
                "kind": run.kinds[name],
                "warm": grown.first,
                "end": grown.last,
                "share": round(grown.share, 4),
                "course": course(run.series[name]),
            }
            for name, grown in growths.items()
        },
        "failed": grown + [name for name in ("lost", "raised", "unexpected failures") if counts[name]],
        "errors": run.errors(),
    }


def course(series: list[tuple[float, float]]) -> list[float]:
    """Return some values of a series, from its begin to its end."""
    return [value for _, value in series[:: max(1, len(series) // COURSE_VALUES)]]


def table(results: dict[str, Any]) -> list[str]:
    """Return the lines of a table."""
    figures, failed = results["figures"], results["failed"]
    width = max(map(len, figures))
    lines = [f"{'':<{width}}  {'warm':>10}  {'end':>10}  {'growth':>7}"]
    for name, figure in figures.items():
        warm, end = (displayed(figure["kind"], figure[when]) for when in ("warm", "end"))
        remark = "  FAILED" if name in failed else ""
        lines.append(f"{name:<{width}}  {warm:>10}  {end:>10}  {figure['share']:7.1%}{remark}")
    lines += [
        f"{results['seconds']} s: " + ", ".join(f"{number:,} {name}" for name, number in results["calls"].items())
    ]
    return [*lines, *results["errors"], f"FAILED: {', '.join(failed)}" if failed else "all flat, and nothing lost", ""]


def displayed(kind: str, value: float) -> str:
    """Return a figure as text, sizes in megabytes."""
    return f"{value / MEGABYTE:.1f} MB" if kind in ("memory", "file", "wal") else f"{value:,.0f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", nargs="+", default=list(CALLS), choices=list(CALLS))
    brokers = parser.parse_args().broker
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    results = {broker: soak(broker) for broker in brokers}
    folder = ROOT / ("benchmarks/results" if SCALE >= 1 else "build")
    folder.mkdir(exist_ok=True)
    (folder / "soak.json").write_text(json.dumps({"machine": machine, "scale": SCALE, **results}, indent=2) + "\n")
    print(f"written to {folder.relative_to(ROOT)}/soak.json")
    return int(any(result["failed"] for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
