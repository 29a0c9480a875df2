"""Files scanned with real YARA rules."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from framework.contrib.yara_scan import scan
from framework.errors import BadEnvironment, MissingExtra, OutsideFolder, ScanError

SAMPLES = Path(__file__).parents[3] / "samples"
MARKER = 'rule marker : one two { meta: description = "A mark" strings: $a = "MARK" condition: $a }'


@pytest.fixture
def files(tmp_path, monkeypatch):
    """An empty folder of files to scan."""
    folder = tmp_path / "files"
    folder.mkdir()
    monkeypatch.setenv("YARA_FILES", str(folder))
    return folder


@pytest.fixture
def rules(tmp_path, monkeypatch):
    """An empty folder of rules."""
    folder = tmp_path / "rules"
    folder.mkdir()
    monkeypatch.setenv("YARA_RULES", str(folder))
    return folder


@pytest.fixture
def samples(monkeypatch):
    monkeypatch.setenv("YARA_FILES", str(SAMPLES / "files"))
    monkeypatch.setenv("YARA_RULES", str(SAMPLES / "rules"))


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("meeting.txt", []),
        ("drill.txt", ["drill_marker"]),
        ("macro.txt", ["macro_that_runs_by_itself"]),
        ("invoice.txt", ["program_named_as_document", "urgent_invoice"]),
    ],
)
def test_the_sample_rules_match_the_sample_files(file, found, samples):
    assert [match["rule"] for match in scan(file)] == found


def test_a_match_names_the_rule_and_the_place(files, rules):
    (rules / "marks.yar").write_text(MARKER)
    (files / "a.bin").write_bytes(b"\0\0MARK MARK")

    assert scan("a.bin") == [
        {"file": "a.bin", "rule": "marker", "ruleset": "marks", "description": "A mark", "tags": "one two", "offset": 2}
    ]


def test_a_rule_without_strings_has_no_offset(files, rules):
    (rules / "size.yar").write_text("rule empty { condition: filesize == 0 }")
    (files / "empty").touch()

    [match] = scan("empty")

    assert (match["offset"], match["description"], match["tags"]) == (None, "", "")


def test_only_the_named_rules_are_used(samples):
    assert [match["ruleset"] for match in scan("invoice.txt", ["phishing", "drill"])] == ["phishing"]
    assert [match["ruleset"] for match in scan("invoice.txt", "documents")] == ["documents"]


def test_rules_that_changed_are_read_again(files, rules):
    (files / "a").write_text("MARK OTHER")
    (rules / "marks.yar").write_text(MARKER)
    assert [match["rule"] for match in scan("a")] == ["marker"]

    (rules / "marks.yar").write_text(MARKER.replace("marker", "other"))
    (rules / "more.yara").write_text(MARKER)

    assert [match["rule"] for match in scan("a")] == ["other", "marker"]


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "link", "linked/secret", "", ".", "a\0b"])
def test_no_file_outside_the_folder_is_scanned(path, files, rules):
    (rules / "marks.yar").write_text(MARKER)
    (files.parent / "secret").write_text("MARK")
    (files / "link").symlink_to(files.parent / "secret")
    (files / "linked").symlink_to(files.parent)

    with pytest.raises(OutsideFolder):
        scan(path)


def test_a_file_that_is_not_there_is_named(files, samples, monkeypatch):
    monkeypatch.setenv("YARA_FILES", str(files))

    with pytest.raises(ScanError, match=r"no file 'a.txt' in the folder .*files; YARA_FILES"):
        scan("a.txt")


@pytest.mark.parametrize("name", ["../marks", "marks.yar", "", "a b", "x" * 65, "año", "a\n"])
def test_a_name_that_is_none_of_a_file_of_rules_is_refused(name, samples):
    with pytest.raises(ScanError, match="names no file of rules"):
        scan("meeting.txt", [name])


def test_rules_that_are_not_there_are_named(samples):
    with pytest.raises(ScanError, match="has no rules called nothing"):
        scan("meeting.txt", ["drill", "nothing"])


def test_a_folder_of_rules_that_is_empty_or_missing_is_named(files, rules):
    (files / "a").touch()
    with pytest.raises(ScanError, match=r"rules holds no \*.yar or \*.yara file"):
        scan("a")

    rules.rmdir()
    with pytest.raises(ScanError, match="rules cannot be read: No such file or directory"):
        scan("a")


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("rule broken { condition: }", r"broken.yar\(1\): syntax error"),
        ('include "/etc/passwd"', "includes are disabled"),
    ],
)
def test_invalid_rules_are_named_with_their_line(source, fault, files, rules):
    (files / "a").touch()
    (rules / "broken.yar").write_text(source)

    with pytest.raises(ScanError, match=fault):
        scan("a")


def test_rules_behind_a_link_that_leads_out_are_refused(files, rules):
    (files / "a").touch()
    outside = rules.parent / "outside.yar"
    outside.write_text(MARKER)
    (rules / "link.yar").symlink_to(outside)

    with pytest.raises(OutsideFolder):
        scan("a")


def test_a_scan_that_takes_too_long_is_ended(files, rules, monkeypatch):
    monkeypatch.setenv("YARA_TIMEOUT", "1")
    (files / "a").touch()
    (rules / "slow.yar").write_text("rule slow { condition: for all i in (1..100000000000): (i > 0) }")

    with pytest.raises(ScanError, match="more than 1 s; YARA_TIMEOUT"):
        scan("a")


def test_a_timeout_that_is_no_number_is_named(samples, monkeypatch):
    monkeypatch.setenv("YARA_TIMEOUT", "soon")

    with pytest.raises(BadEnvironment, match="YARA_TIMEOUT is 'soon': it must be a whole number from 1"):
        scan("meeting.txt")


def test_without_yara_the_error_names_the_package(files, rules, monkeypatch):
    (files / "a").touch()
    (rules / "marks.yar").write_text(MARKER)
    monkeypatch.setitem(sys.modules, "yara", None)

    with pytest.raises(MissingExtra, match=r'pip install "omstd-framework\[yara\]"'):
        scan("a")


def test_a_rule_that_matches_half_a_million_times_does_not_keep_what_it_matched(files, rules):
    """B6."""
    (files / "large.bin").write_bytes(b"ab" * 500_000)
    (rules / "often.yar").write_text(f'rule often {{ strings: $a = "{"ab" * 250}" condition: $a }}')
    code = """
        import resource
        from framework.contrib.yara_scan import scan
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert scan("large.bin")[0]["offset"] == 0
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """

    done = subprocess.run([sys.executable, "-c", dedent(code)], capture_output=True, text=True, check=True, timeout=60)

    # 500,000 matches of 500 bytes each are 250 MB; where and how long each is takes 80 MB.
    assert int(done.stdout) < 200_000
