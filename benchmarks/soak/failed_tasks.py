"""A process that retries or drops failed tasks every second, as an operator: ``python failed_tasks.py``.

It ends when its input is closed.
"""

import select
import sys

import workload
from records import append
from workload import FOLDER

from framework.failures import FailedTask, Failures

INTERVAL_SECONDS = 1.0


def attend(failures: Failures) -> None:
    """Retry the tasks of an outage, and drop the others."""
    listed = failures.page(limit=1000)
    if retried := [entry.id for entry in listed if entry.task == workload.outage.name]:
        failures.retry(retried)
    if dropped := [entry for entry in listed if entry.task != workload.outage.name]:
        failures.drop([entry.id for entry in dropped])
    for entry in dropped:
        note(entry)


def note(entry: FailedTask) -> None:
    """Record a dropped task; one that should not have failed is also written to a file, with its error."""
    caller, number, *_ = entry.args or (0, 0)
    append(FOLDER, "dropped", caller, number)
    if entry.task != workload.broken.name:
        with (FOLDER / "unexpected").open("a") as file:
            file.write(f"{entry.task} {entry.args}: {entry.reason}: {entry.error}\n")


def main() -> None:
    failures = Failures(workload.celery)
    while not select.select([sys.stdin], [], [], INTERVAL_SECONDS)[0]:
        attend(failures)


if __name__ == "__main__":
    main()
