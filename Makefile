# `make run` and `make test` install what they need into .venv and ask nothing.
VENV := .venv
PYTHON ?= python3.11
BIN := $(VENV)/bin

.PHONY: help setup run test lint docs clean

help:  ## list what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/installed  ## install everything into .venv (the other targets do it by themselves)

$(VENV)/installed: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	@echo "Installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	@touch $@

run: setup  ## see real tasks run, on the embedded broker
	@$(BIN)/framework up -- $(BIN)/python start.py

test: setup  ## run every test, on both brokers
	@$(BIN)/python -m pytest

lint: setup  ## style and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

docs: setup  ## build the guide into docs/_build
	@$(BIN)/sphinx-build -nEWq -b dirhtml docs docs/_build/html

clean:  ## forget what was built and installed
	rm -rf $(VENV) build dist docs/_build *.egg-info
