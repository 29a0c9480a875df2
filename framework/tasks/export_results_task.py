"""A task that appends results to a CSV file."""

from typing import Any

from framework.celery.celery import celery
from framework.contrib.csv_export import append_rows, export_file


@celery.task
def export_to_csv(rows: list[Any] | dict[str, Any], filename: str = "results.csv") -> int:
    """Append rows to a CSV file in the export folder; return how many.

    Rows are dictionaries, which go under the file's header, or lists; one dictionary is one row. Any number of workers
    may append to one file. A task that ran twice, after a crash, has its rows there twice.

    Raises:
        BadRows: the rows cannot be written as they are; see `framework.contrib.csv_export.append_rows`.
        OutsideFolder: the name leads out of the folder that ``EXPORT_FOLDER`` names.
    """
    return append_rows(export_file(filename), rows)
