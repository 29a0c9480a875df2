"""Names of files that stay inside their folder."""

import os
from pathlib import Path

from framework.errors import OutsideFolder

__all__ = ["inside"]


def inside(folder: Path, name: str | os.PathLike[str]) -> Path:
    """Return the real path of ``name`` in ``folder``, with symbolic links followed, whether it exists or not.

    Raises:
        OutsideFolder: ``name`` leads out of the folder, is the folder itself, or is no name of a file.
    """
    base = folder.resolve()
    try:
        path = (base / name).resolve()
    except (ValueError, OSError, RuntimeError) as exc:  # a NUL inside, or a loop of links
        raise OutsideFolder.named(name, folder) from exc
    # From Python 3.13 on resolve() returns a loop of links as it is.
    if base not in path.parents or any(part.is_symlink() for part in (path, *path.parents)):
        raise OutsideFolder.named(name, folder)
    return path
