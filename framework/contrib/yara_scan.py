"""Files scanned with YARA rules.

================  =============================================  =================
variable          what it is                                     default
================  =============================================  =================
``YARA_RULES``    the folder of rules, ``*.yar`` and ``*.yara``  ``samples/rules``
``YARA_FILES``    the folder that files to scan must be in       ``samples/files``
``YARA_TIMEOUT``  seconds that one scan may take                 ``60``
================  =============================================  =================

A scan takes about 160 bytes of memory for each place that an expression of the rules matches, 160 MB for an expression
at most, since YARA stops at a million places. What was matched is not kept: yara-python's ``max_match_data``, which
holds for the whole process, is 1.
"""

import re
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from framework.contrib import env
from framework.contrib.paths import inside
from framework.errors import MissingExtra, ScanError

__all__ = ["Match", "scan"]


#: A match of a rule: ``file``, ``rule``, ``ruleset`` (the rule's file), ``description``, ``tags`` and ``offset``, the
#: first byte of the file that matched (None for a rule without strings). Text and numbers alone: it can be queued.
Match: TypeAlias = dict[str, str | int | None]

SUFFIXES = frozenset({".yar", ".yara"})
RULESET = re.compile(r"[A-Za-z0-9_-]{1,64}")


def scan(path: str, rules: str | Collection[str] | None = None) -> list[Match]:
    """Return the matches of the rules in a file.

    Args:
        path: the file, relative to the folder ``YARA_FILES``.
        rules: the files of rules to use, by name without suffix; all of the folder ``YARA_RULES`` if None.

    Raises:
        OutsideFolder: the file, or a file of rules, is not in its folder.
        ScanError: a file or the rules cannot be read, the rules are invalid, or the scan takes too long.
        MissingExtra: yara-python is not installed.
    """
    folder = env.folder("YARA_FILES", "samples/files")
    seconds = env.number("YARA_TIMEOUT", 60, least=1)
    file = inside(folder, path)
    if not file.is_file():
        raise ScanError(f"There is no file {path!r} in the folder {folder}; YARA_FILES names the folder to scan.")
    compiled = _compiled(_rule_files(rules))
    yara = _yara()
    try:
        found = compiled.match(filepath=str(file), timeout=seconds)
    except yara.TimeoutError as exc:
        raise ScanError(f"Scanning {path!r} took more than {seconds} s; YARA_TIMEOUT allows more.") from exc
    except yara.Error as exc:
        raise ScanError(f"{path!r} cannot be scanned: {exc}") from exc
    return [_match(path, match) for match in found]


def _match(path: str, match: Any) -> Match:
    offsets = [instance.offset for string in match.strings for instance in string.instances]
    return {
        "file": path,
        "rule": match.rule,
        "ruleset": Path(match.namespace).stem,
        "description": str(match.meta.get("description", "")),
        "tags": " ".join(match.tags),
        "offset": min(offsets, default=None),
    }


def _rule_files(rules: str | Collection[str] | None) -> tuple[Path, ...]:
    folder = env.folder("YARA_RULES", "samples/rules")
    names = {rules} if isinstance(rules, str) else None if rules is None else set(rules)
    for name in names or ():
        if not RULESET.fullmatch(name):
            raise ScanError(f"{name!r} names no file of rules: letters, digits, _ and - only, and no suffix.")
    try:
        there = [inside(folder, entry.name) for entry in sorted(folder.iterdir()) if entry.suffix in SUFFIXES]
    except OSError as exc:
        raise ScanError(f"The folder of rules {folder} cannot be read: {exc.strerror}. YARA_RULES names it.") from exc
    found = tuple(file for file in there if names is None or file.stem in names)
    if missing := (names or set()) - {file.stem for file in found}:
        raise ScanError(f"The folder {folder} has no rules called {', '.join(sorted(missing))}.")
    if not found:
        raise ScanError(f"The folder of rules {folder} holds no *.yar or *.yara file. YARA_RULES names the folder.")
    return found


def _compiled(files: tuple[Path, ...]) -> Any:
    """Return the rules of ``files``, compiled again only when one of them has changed."""
    return _compile(tuple((str(file), file.stat().st_mtime_ns) for file in files))


@lru_cache(maxsize=4)
def _compile(files: tuple[tuple[str, int], ...]) -> Any:
    yara = _yara()
    try:
        # An include could read any file of this machine.
        return yara.compile(filepaths={Path(path).name: path for path, _ in files}, includes=False)
    except yara.Error as exc:
        raise ScanError(f"The rules cannot be used: {exc}") from exc


def _yara() -> ModuleType:
    try:
        import yara
    except ImportError as exc:
        raise MissingExtra.named("yara-python", "yara") from exc
    yara.set_config(max_match_data=1)  # by default 512 bytes of each match, which `_match` does not use
    return yara  # type: ignore[no-any-return]
