"""Rows appended to a CSV file that a spreadsheet opens, safely from many processes at once.

The file is what spreadsheets expect: UTF-8 with a mark at its start (so that accents are read as such), commas, every
cell in quotes, CRLF after each row. A text that a spreadsheet would run as a formula gets an apostrophe before it, also
where it would begin a cell for a program that separates cells by semicolons, tabs or vertical bars.
"""

import csv
import fcntl
import io
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, TypeAlias

from framework.contrib import env
from framework.contrib.paths import inside
from framework.errors import BadRows

__all__ = ["CELL_LIMIT", "ROW_LIMIT", "append_rows", "export_file"]


Row: TypeAlias = Mapping[str, Any] | Sequence[Any]

#: Rows in one call.
ROW_LIMIT = 10_000
#: Characters in one cell; a spreadsheet takes no more.
CELL_LIMIT = 32_767

MARK = "\ufeff".encode()
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
# The start of a cell, also for a reader that separates cells with another sign; it skips quotes there. The four escapes
# are the wide forms of the same signs, which some spreadsheets treat alike.
FORMULA = re.compile(r'(^|[;|\t\n])(?=[\s"]*[=+\-@\uff1d\uff0b\uff0d\uff20])|^(?=[\t\n])')
# Control characters, and halves of characters, which no encoding takes.
UNPRINTABLE = re.compile("[\0-\x08\x0b-\x1f\x7f\ud800-\udfff]")

log = logging.getLogger(__name__)


def export_file(name: str) -> Path:
    """Return the path of the file ``name`` in the folder that ``EXPORT_FOLDER`` names (``exports`` if unset).

    Raises:
        OutsideFolder: the name leads out of that folder.
        BadRows: the name does not end in ``.csv``.
    """
    path = inside(env.folder("EXPORT_FOLDER", "exports"), name)
    if path.suffix.lower() != ".csv":
        raise BadRows(f"Rows are exported to a CSV file, not to {name!r}. Give a name that ends in .csv.")
    return path


def append_rows(path: Path, rows: Row | Sequence[Row]) -> int:
    """Append rows to a CSV file, all or none; return how many.

    Rows are dictionaries or lists, not both. Dictionaries go under the header, the file's first line: a new file gets
    the keys as its header, in an old one a missing key leaves its cell empty, and a key that the header lacks is
    refused. Lists are written as they are, and begin no header. A single dictionary is one row.

    Processes that append to one file wait for each other, by a lock on the hidden file ``.NAME.unfinished`` beside it.
    A write that a killed process left unfinished is undone by the next process that appends. When this returns, the
    rows are on the disk.

    Raises:
        BadRows: the rows are not as above, more than `ROW_LIMIT`, or have a cell of more than `CELL_LIMIT` characters.
        OSError: the file cannot be written; it is as it was.
    """
    wanted = _checked(rows)
    if not wanted:
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_name(f".{path.name}.unfinished")) as journal, path.open("a+b", buffering=0) as file:
        _undo_unfinished(file, journal)
        _repair(file)
        _write(file, journal, _lines(path, wanted))
    return len(wanted)


def _checked(rows: Row | Sequence[Row]) -> Sequence[Row]:
    found = [rows] if isinstance(rows, Mapping) else rows
    if not isinstance(found, list | tuple) or not all(isinstance(row, Mapping | list | tuple) for row in found):
        raise BadRows("Rows are a list of dictionaries or of lists, or one dictionary. Nothing was written.")
    if len({isinstance(row, Mapping) for row in found}) > 1:
        raise BadRows("Some rows are dictionaries and some are lists. Export each kind to a file of its own.")
    if len(found) > ROW_LIMIT:
        raise BadRows(f"{len(found)} rows are more than the {ROW_LIMIT} of one call. Export them in several calls.")
    return found


@contextmanager
def _locked(path: Path) -> Iterator[FileIO]:
    """Lock the journal at ``path`` until the block ends; the kernel releases the lock of a dead process."""
    with path.open("a+b", buffering=0) as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        yield journal


def _undo_unfinished(file: FileIO, journal: FileIO) -> None:
    """Cut off the rows that a killed process had begun to write; the journal has their start and their text."""
    journal.seek(0)
    start, _, begun = journal.read().partition(b"\n")
    if not begun:
        return
    file.seek(int(start))
    written = file.read()
    # Cut only the unfinished write, not a change that was made to the file since.
    if written and begun.startswith(written) and len(written) < len(begun):
        file.truncate(int(start))
    journal.truncate(0)


def _repair(file: FileIO) -> None:
    """Finish or cut a last line without line end, which an editor or another program left."""
    end = file.seek(0, os.SEEK_END)
    last = _last_line(file, end)
    if last in {b"", MARK}:
        return
    if last.count(b'"') % 2:
        log.warning("%s ended in a torn line, which was cut off: %r", file.name, last[:200])
        file.truncate(end - len(last))
    else:
        file.write(b"\r\n")


def _last_line(file: FileIO, end: int) -> bytes:
    """Return the bytes after the last line end."""
    start, tail = end, b""
    while start and b"\n" not in tail:
        start = max(0, start - io.DEFAULT_BUFFER_SIZE - len(tail))
        file.seek(start)
        tail = file.read(end - start)
    return tail.rpartition(b"\n")[2]


def _lines(path: Path, rows: Sequence[Row]) -> bytes:
    """Return the rows as they go into the file, with mark and header where the file is new."""
    size = path.stat().st_size
    mark = b"" if size else MARK
    new = size <= len(MARK)
    dicts = [row for row in rows if isinstance(row, Mapping)]
    if not dicts:
        return mark + _as_csv(row for row in rows if not isinstance(row, Mapping))
    keys = list(dict.fromkeys(_cell(key) for row in dicts for key in row))
    header = keys if new else _header(path, keys)
    by_column = [{_cell(key): value for key, value in row.items()} for row in dicts]
    table = [[row.get(column) for column in header] for row in by_column]
    return mark + _as_csv([header, *table] if new else table)


def _header(path: Path, keys: list[str]) -> list[str]:
    """Return the file's first row, if it has all ``keys``."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
    except (UnicodeDecodeError, csv.Error) as exc:
        raise BadRows(f"{path} is no CSV file in UTF-8 ({exc}). Save it as one, or move it away.") from exc
    if missing := [key for key in keys if key not in header]:
        raise BadRows(
            f"{path} has no column {', '.join(map(repr, missing))}; its first line has {', '.join(map(repr, header))}. "
            "Nothing was written: export to a file of its own, or add the column to the first line."
        )
    return header


def _as_csv(rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(map(_cell, row) for row in rows)
    return text.getvalue().encode()


def _cell(value: object) -> str:
    """Return a value as text that a spreadsheet displays and does not run; numbers stay numbers."""
    if isinstance(value, Mapping | list | tuple | set | bytes):
        raise BadRows(f"A cell is a {type(value).__name__}; it must be text, a number, a date or None.")
    text = UNPRINTABLE.sub("\ufffd", "" if value is None else re.sub("\r\n?", "\n", str(value)))
    if len(text) > CELL_LIMIT:
        raise BadRows(f"A cell has {len(text)} characters; a spreadsheet takes {CELL_LIMIT}. Nothing was written.")
    return text if NUMBER.fullmatch(text) else FORMULA.sub(lambda found: f"{found[0]}'", text)


def _write(file: FileIO, journal: FileIO, lines: bytes) -> None:
    start = file.seek(0, os.SEEK_END)
    journal.truncate(0)
    _write_all(journal, b"%d\n%b" % (start, lines))
    try:
        _write_all(file, lines)
        os.fsync(file.fileno())
    except BaseException:
        file.truncate(start)
        raise
    finally:
        journal.truncate(0)


def _write_all(file: FileIO, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]
