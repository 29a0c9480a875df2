"""The task modules of a project: every module of every task package, under any filename, without importing any.

A *task package* is a folder called ``tasks`` with an ``__init__.py``, at any depth below the root, with all packages
inside it; a single module ``tasks.py`` counts too. The folders on the way must be packages (have an ``__init__.py``),
which keeps virtual environments and build folders out; packages called ``test`` or ``tests`` are skipped.
"""

import ast
import os
import stat
import sys
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from framework.errors import DiscoveryError, FrameworkWarning

__all__ = ["find_tasks_in_project", "source_of"]


def find_tasks_in_project(project_root: str | os.PathLike[str] | None = None) -> list[str]:
    """Return the dotted names of all task modules under a folder or package, sorted; nothing is imported.

    Names need not be identifiers: ``my-task.py`` and ``2fa.py`` are found and imported like any other. A dot inside a
    filename (``a.b.py``) cannot be imported by name in Python: such a file is skipped with a warning.

    Args:
        project_root: a folder, or the name of an importable package such as ``"shop"``; the current folder if None.

    Raises:
        DiscoveryError: there is no such folder or package, or a task package cannot be read.
    """
    root = _folder(project_root)
    return sorted(set(_task_modules(root, _import_name(root), ())))


def source_of(module: str) -> Path | None:
    """Return the file that ``module`` would be imported from, without importing its parents; None if there is none."""
    top, *rest = module.split(".")
    for folder in _locations(top):
        path = folder.joinpath(*rest)
        for candidate in (path / "__init__.py", path.with_name(f"{path.name}.py")):
            if candidate.is_file():
                return candidate
    return None


def _locations(top: str) -> list[Path]:
    """Return the folders of a top-level package, or the path of a top-level module without its suffix."""
    spec = find_spec(top) if top else None
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return [Path(folder) for folder in spec.submodule_search_locations]
    return [Path(spec.origin).with_suffix("")] if spec.origin else []


def _folder(project_root: str | os.PathLike[str] | None) -> Path:
    if project_root is None:
        return Path.cwd()
    path = Path(project_root)
    if path.is_dir():
        return path.absolute()
    # A dotted name is resolved like an import, so that an installed package is found from any folder.
    if path.name == str(project_root) and (found := source_of(path.name)) and found.name == "__init__.py":
        return found.parent
    raise DiscoveryError(
        f"find_tasks_in_project({str(project_root)!r}): there is no such folder in {Path.cwd()}, and no such package. "
        "Give the folder that holds the code, or the name of a package that can be imported."
    )


def _import_name(root: Path) -> tuple[str, ...]:
    """Return the dotted name of ``root`` itself, in parts; empty where imports start at ``root``."""
    parts: list[str] = []
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    search = {Path(entry or ".").absolute() for entry in sys.path}
    starts = [base for base in (root, *root.parents) if base in search]
    return (*root.relative_to(starts[0]).parts, *parts) if starts else tuple(parts)


def _task_modules(folder: Path, name: tuple[str, ...], above: tuple[str, ...], inside: bool = False) -> Iterator[str]:
    """Yield the task modules in ``folder``, imported as ``name``; ``above`` are the real paths of its parents."""
    real = os.path.realpath(folder)
    if real in above:  # a symbolic link to a folder that holds it
        return
    inside = inside or (folder.name == "tasks" and _is_package(folder))
    if inside and _has_code(folder / "__init__.py"):
        yield ".".join(name)
    for entry in _entries(folder):
        if entry.suffix == ".py" and entry.is_file():
            if inside or entry.name == "tasks.py":
                yield from _module(entry, name)
        elif _is_searched(entry):
            yield from _task_modules(entry, (*name, entry.name), (*above, real), inside)


def _module(file: Path, package: tuple[str, ...]) -> Iterator[str]:
    if file.name == "__init__.py" or file.name.startswith("."):
        return
    if "." in file.stem:
        warnings.warn(
            f"{file} holds no tasks: Python cannot import a name with a dot inside. Rename the file.",
            FrameworkWarning,
            stacklevel=2,
        )
        return
    yield ".".join((*package, file.stem))


def _is_searched(folder: Path) -> bool:
    """Return whether a folder may have tasks: a package that can be imported by name, and is none of tests."""
    return "." not in folder.name and folder.name not in {"test", "tests"} and _is_package(folder)


def _is_package(folder: Path) -> bool:
    try:
        return stat.S_ISREG((folder / "__init__.py").stat().st_mode)
    except PermissionError as exc:
        if folder.name == "tasks":
            raise _unreadable(folder, exc) from exc
        return False
    except OSError:
        return False


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as exc:
        raise _unreadable(folder, exc) from exc


def _unreadable(folder: Path, cause: OSError) -> DiscoveryError:
    return DiscoveryError(
        f"The folder {folder} cannot be read ({cause.strerror}), so its tasks would be missing. "
        f"Make it readable: chmod u+rx {folder}"
    )


def _has_code(file: Path) -> bool:
    """Return whether a package's ``__init__.py`` has code besides its docstring."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return True  # its import will raise the error
    return any(not isinstance(node, ast.Expr) for node in body)
