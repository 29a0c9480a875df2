"""Rows in a CSV file: what a spreadsheet reads back, whoever else writes and whoever is killed."""

import csv
import signal
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from framework.contrib.csv_export import append_rows, export_file
from framework.errors import BadRows, OutsideFolder


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.csv"


def read(path):
    """The rows as a spreadsheet set to UTF-8 and commas reads them; strict, so that a torn quote is an error."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file, strict=True))


def start(code, *arguments):
    """Run ``code`` in a process of its own, with ``append_rows``, ``path`` and ``sys`` at hand."""
    imports = "import sys\nfrom pathlib import Path\nfrom framework.contrib.csv_export import append_rows\n"
    command = [sys.executable, "-c", imports + "path = Path(sys.argv[1])\n" + code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 0, errors


def test_dictionaries_go_under_the_header_that_the_first_ones_made(path):
    assert append_rows(path, [{"name": "Ána", "age": 33}, {"name": "Bob", "city": "Oslo"}]) == 2
    assert append_rows(path, {"city": "Lugo"}) == 1

    assert read(path) == [["name", "age", "city"], ["Ána", "33", ""], ["Bob", "", "Oslo"], ["", "", "Lugo"]]


def test_a_new_file_begins_with_the_mark_that_makes_spreadsheets_read_accents_and_ends_lines_as_they_do(path):
    append_rows(path, [["á"]])
    append_rows(path, [["b"]])

    assert path.read_bytes() == b'\xef\xbb\xbf"\xc3\xa1"\r\n"b"\r\n'


def test_a_key_that_the_header_lacks_is_refused_and_nothing_is_written(path):
    append_rows(path, {"name": "Ann"})
    before = path.read_bytes()

    with pytest.raises(BadRows, match=r"results.csv has no column 'age'; its first line has 'name'"):
        append_rows(path, [{"name": "Bob"}, {"age": 3}])

    assert path.read_bytes() == before


def test_cells_are_text_numbers_dates_or_nothing(path):
    append_rows(path, [[1, -2.5, True, None, date(2026, 1, 31), Decimal("-0.10"), 'say "hi", you\r\nthere']])

    assert read(path) == [["1", "-2.5", "True", "", "2026-01-31", "-0.10", 'say "hi", you\nthere']]


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+34 600", "'+34 600"),
        ("-1+1", "'-1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\n'=1"),
        ("  =1", "'  =1"),
        ("\uff1d1", "'\uff1d1"),
        ("a;=1", "a;'=1"),
        ('a;"=1', "a;'\"=1"),
        ('a\t "=1', "a\t' \"=1"),
        ("a|=1", "a|'=1"),
        ("a\n=1", "a\n'=1"),
        ("-inf", "'-inf"),
        ("-5 apples", "'-5 apples"),
        ("-5", "-5"),
        ("-1e-05", "-1e-05"),
        ("a=b, c-d", "a=b, c-d"),
        ("", ""),
        ("a\0b\ud800", "a\ufffdb\ufffd"),
    ],
)
def test_no_cell_is_run_as_a_formula(path, cell, written):
    append_rows(path, [[cell]])

    assert read(path) == [[written]]


@given(row=st.lists(st.text(st.sampled_from('=x;\t\n|," -'), max_size=12), min_size=1, max_size=3))
@example(row=['x;"=1+1;y'])
def test_no_separator_makes_a_text_the_start_of_a_formula(row):
    """C1."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        append_rows(path, [row])

        for separator in ",;\t|":
            with path.open(encoding="utf-8-sig", newline="") as file:
                cells = [cell.lstrip() for found in csv.reader(file, delimiter=separator) for cell in found]
            assert not [cell for cell in cells if cell.startswith(("=", "-"))], separator


def test_a_column_is_no_formula_either_and_is_found_again(path):
    append_rows(path, {"=cmd": 1})
    append_rows(path, {"=cmd": 2})

    assert read(path) == [["'=cmd"], ["1"], ["2"]]


@pytest.mark.parametrize(
    "rows",
    ["text", ["text"], [1], 7, None, [{"a": 1}, [1]], [["x" * 32_768]], [[{"a": 1}]], [[b"x"]], [["x"]] * 10_001],
)
def test_rows_that_are_no_table_are_refused_and_not_written(path, rows):
    with pytest.raises(BadRows):
        append_rows(path, rows)

    assert not path.exists() or path.read_bytes() == b""


def test_no_rows_make_no_file(path):
    assert append_rows(path, []) == 0

    assert not path.exists()


def test_eight_processes_append_at_once_and_every_row_is_there_once(path):
    code = (
        "for n in range(200): append_rows(path, {'who': sys.argv[2], 'n': n, 'text': 'two\\nlines, \"quoted\" ' * 9})"
    )

    writers = [start(code, path, who) for who in range(8)]
    for writer in writers:
        finish(writer)

    header, *rows = read(path)
    assert header == ["who", "n", "text"]
    assert sorted((int(row[0]), int(row[1])) for row in rows) == [(who, n) for who in range(8) for n in range(200)]
    assert {row[2] for row in rows} == {'two\nlines, "quoted" ' * 9}


# The kernel itself cuts the write short at the size limit, and the second signal kills the process there.
KILLED_WHILE_WRITING = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
append_rows(path, [["killed", "a\\nb" * 500]] * 40)
"""


# After the first byte, inside a cell, right after a line break inside a cell, and many rows later.
@pytest.mark.parametrize("reached", [1, 4, 12, 40_000])
def test_the_unfinished_write_of_a_killed_process_is_undone_by_the_next(path, reached):
    append_rows(path, [["first", "x" * 30_000]] * 4)
    whole = path.read_bytes()
    killed = start(KILLED_WHILE_WRITING, path, len(whole) + reached)
    assert killed.wait(60) == -signal.SIGXFSZ
    killed.communicate()
    assert path.stat().st_size == len(whole) + reached

    append_rows(path, [["last", ""]])

    assert path.read_bytes() == whole + b'"last",""\r\n'


def test_kill_9_at_any_time_leaves_all_rows_of_a_call_or_none(path):
    code = "for n in range(100_000): append_rows(path, [[sys.argv[2], n, 'a\\nb' * 50]] * 500); print(n, flush=True)"
    for who in range(6):
        writer = start(code, path, who)
        for _ in range(who + 1):
            writer.stdout.readline()
        writer.kill()
        writer.communicate()

    append_rows(path, [["last", 0, ""]])

    *rows, last = read(path)
    assert last == ["last", "0", ""]
    calls = [tuple(row[:2]) for row in rows]
    assert {calls.count(call) for call in set(calls)} == {500}
    assert {who for who, _ in calls} == set("012345")


def test_a_write_that_fails_leaves_the_file_as_it_was(path):
    append_rows(path, [["x" * 30_000]] * 4)
    before = path.read_bytes()
    code = KILLED_WHILE_WRITING.replace("SIG_DFL", "SIG_IGN")

    failed = start(code, path, len(before) + 5000)

    assert "OSError: [Errno 27] File too large" in failed.communicate(timeout=60)[1]
    assert path.read_bytes() == before


@pytest.mark.parametrize("changed", [b'"kept"\r\n' * 20_000, b'"kept"\r\n', b""])
def test_a_change_to_the_file_after_a_crash_is_not_undone(path, changed):
    append_rows(path, [["first", "x" * 30_000]] * 4)
    killed = start(KILLED_WHILE_WRITING, path, path.stat().st_size + 5000)
    killed.communicate(timeout=60)
    path.write_bytes(changed)

    append_rows(path, [["last"]])

    assert path.read_bytes() == (changed or b"\xef\xbb\xbf") + b'"last"\r\n'


@pytest.mark.parametrize(
    ("left", "repaired"),
    [
        (b'"a","b"\r\n"c","torn', b'"a","b"\r\n'),
        (b'"a","b"\n"c","d"', b'"a","b"\n"c","d"\r\n'),
        (b"a,b", b"a,b\r\n"),
        (b"a,b\n", b"a,b\n"),
        (b"\xef\xbb\xbf", b"\xef\xbb\xbf"),
        (b"", b"\xef\xbb\xbf"),
    ],
)
def test_a_last_line_without_end_that_another_program_left_is_ended_or_cut(path, left, repaired, caplog):
    path.write_bytes(left)

    append_rows(path, [["new"]])

    assert path.read_bytes() == repaired + b'"new"\r\n'
    assert ("torn line" in caplog.text) == (b"torn" in left)


def test_a_file_in_another_encoding_is_refused(path):
    path.write_bytes("año\r\n".encode("latin-1"))

    with pytest.raises(BadRows, match=r"results.csv is no CSV file in UTF-8"):
        append_rows(path, {"año": 1})


def test_files_are_exported_into_the_export_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert export_file("results.csv") == tmp_path / "exports" / "results.csv"

    monkeypatch.setenv("EXPORT_FOLDER", str(tmp_path / "out"))
    append_rows(export_file("2026/may.csv"), [["x"]])

    assert (tmp_path / "out/2026/may.csv").exists()


@pytest.mark.parametrize(
    "name", ["../out.csv", "/etc/out.csv", "link.csv", "linked/out.csv", "", ".", "a\0.csv", "loop"]
)
def test_no_name_leads_out_of_the_export_folder(name, tmp_path, monkeypatch):
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / "link.csv").symlink_to(tmp_path / "outside.csv")
    (folder / "linked").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder / "loop")
    monkeypatch.setenv("EXPORT_FOLDER", str(folder))

    with pytest.raises(OutsideFolder, match="not a file inside the folder"):
        export_file(name)


def test_only_csv_files_are_exported(monkeypatch, tmp_path):
    monkeypatch.setenv("EXPORT_FOLDER", str(tmp_path))

    with pytest.raises(BadRows, match=r"ends in .csv"):
        export_file("page.html")
