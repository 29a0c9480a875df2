"""The user code in ``project`` is checked by mypy and pyright; it is never imported."""

collect_ignore_glob = ["project/*"]
