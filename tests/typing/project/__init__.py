"""A project as a user writes it: mypy and pyright, both strict, must accept every line."""
