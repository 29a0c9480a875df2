"""A task that scans files with YARA rules."""

from framework.celery.celery import celery
from framework.contrib.yara_scan import Match, scan

EXPORT = "framework.tasks.export_results_task.export_to_csv"


@celery.task
def yara_task(path: str, rules: list[str] | None = None) -> list[Match]:
    """Scan a file with YARA rules, send each match to be exported, and return the matches.

    The folders of files and rules are settings of `framework.contrib.yara_scan`; ``rules`` are the names of the rule
    files to use, all if None.

    Raises:
        OutsideFolder: the file is not in the folder that ``YARA_FILES`` names.
        ScanError: the file cannot be scanned, or the rules are invalid.
        MissingExtra: yara-python is not installed.
    """
    matches = scan(path, rules)
    for match in matches:
        celery.send_task(EXPORT, ([match],))
    return matches
