# `make run` and `make test` install what they need into .venv and ask nothing.
VENV := .venv
PYTHON ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)
BIN := $(VENV)/bin

TEST_OPTIONS := -n 4 --dist loadfile --ignore tests/docs --ignore tests/chaos
# The tests start a thousand processes, which would compile the framework each time.
export PYTHONDONTWRITEBYTECODE :=

CHAOS_SCALE ?= 1
SOAK_SCALE ?= 1

.PHONY: help setup run demo screenshots test test-all test-rabbitmq4 dist chaos soak bench lint docs docs-serve sessions messages clean

help:  ## list what there is to make
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/installed  ## install everything into .venv (the other targets do it by themselves)

$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo \
		'"$(PYTHON)" is no Python 3.11 or later that can make virtual environments. Install one' \
		'(Debian, Ubuntu: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3.12' >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --editable . --group dev
	@touch $@

run: setup  ## see real tasks run, on the embedded broker
	@$(BIN)/framework up -- $(BIN)/python start.py

demo: setup  ## a web application to try it with, on http://127.0.0.1:8000
	@CELERY_CONFIG_MODULE=demo.celeryconfig $(BIN)/framework up -- $(BIN)/python -m demo

screenshots: setup  ## the demo's pages as pictures, into docs/_static/screenshots
	@$(BIN)/python -m framework.testing.browser install
	@folder=$$(mktemp -d); DEMO_DATA=$$folder CELERY_BROKER_URL=sqlite:///$$folder/broker.db \
		CELERY_CONFIG_MODULE=demo.celeryconfig $(BIN)/framework up -- $(BIN)/python -m demo.screenshots docs/_static/screenshots

test: setup  ## run every test, on both brokers (make chaos and make docs have their own)
	@$(BIN)/python -m framework.testing.rabbitmq install
	@$(BIN)/python -m framework.testing.browser install
	@$(BIN)/python -m pytest $(TEST_OPTIONS) --cov --cov-report= $(PYTEST_ARGS); status=$$?; \
		$(BIN)/python tools/coverage_report.py; exit $$status

test-all: setup  ## run every test on each supported Python that is here, and with the lowest dependencies
	@$(BIN)/python -m framework.testing.rabbitmq install
	@$(BIN)/python -m framework.testing.browser install
	@$(BIN)/python tools/test_all.py $(if $(ONLY),--only $(ONLY)) $(TEST_OPTIONS) $(PYTEST_ARGS)

test-rabbitmq4: setup  ## run what depends on the server on RabbitMQ 4.0 and 4.3, which it downloads
	@$(BIN)/python tools/test_rabbitmq4.py $(PYTEST_ARGS)

chaos: setup  ## kill, cut, poison and starve everything, and count what is lost (half an hour; CHAOS_SCALE=0.1: 5 minutes)
	@$(BIN)/python -m framework.testing.rabbitmq install
	@CHAOS_SCALE=$(CHAOS_SCALE) $(BIN)/python -m pytest tests/chaos $(PYTEST_ARGS)

soak: setup  ## run a million tasks, and find what grows or is lost (half an hour; SOAK_SCALE=0.01: a minute)
	@$(BIN)/python -m framework.testing.rabbitmq install
	@SOAK_SCALE=$(SOAK_SCALE) $(BIN)/python benchmarks/soak $(SOAK_ARGS)

bench: setup  ## measure the embedded broker beside kombu's own and RabbitMQ, and the web (a quarter of an hour)
	@$(BIN)/python -m framework.testing.rabbitmq install
	@$(BIN)/python -m framework.testing.browser install
	@$(BIN)/python benchmarks/embedded.py
	@$(BIN)/python benchmarks/progress.py
	@$(BIN)/python benchmarks/web.py
	@$(BIN)/python benchmarks/limits.py
	@$(BIN)/python benchmarks/contact.py
	@$(BIN)/python benchmarks/growing.py

lint: setup  ## style and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

dist: setup  ## build the wheel and the source archive into dist, and check what is in them
	@rm -rf dist
	@$(BIN)/python -m build --outdir dist . > /dev/null
	@$(BIN)/python -m twine check --strict dist/*
	@$(BIN)/python tools/release.py check dist
	@echo "dist holds:" && ls dist

docs: setup  ## build the guide into docs/_build/html, in English and (es/) in Spanish, and check it
	@$(BIN)/python docs/gates/install.py
	@rm -rf docs/_build/html
	@$(BIN)/sphinx-build -nEWq -b html -d docs/_build/doctrees/en docs docs/_build/html
	@$(BIN)/sphinx-build -nEWq -b html -d docs/_build/doctrees/es -D language=es docs docs/_build/html/es
	@$(BIN)/python -m pytest -q docs/gates
	@$(BIN)/python -m framework.testing.rabbitmq install
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile tests/docs
	@echo "The guide is in docs/_build/html/index.html; make docs-serve shows it."

docs-serve: setup  ## show the guide on http://127.0.0.1:8001
	@test -e docs/_build/html/es/index.html || $(MAKE) docs
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory docs/_build/html 8001

sessions: setup  ## record what the guide's terminals show, by running it in a fresh copy of the project
	@$(BIN)/python -m framework.testing.rabbitmq install
	@$(BIN)/python docs/record.py

messages: setup  ## bring docs/locales up to what the guide's English says now, to be translated
	@rm -rf docs/_build/gettext
	@$(BIN)/sphinx-build -EQ -b gettext -d docs/_build/doctrees/gettext docs docs/_build/gettext
	@$(BIN)/sphinx-intl update -p docs/_build/gettext -d docs/locales -l es -w 100 --no-obsolete
	@$(BIN)/sphinx-intl stat -d docs/locales -l es || echo "Translate what is empty or fuzzy in docs/locales/es, then: make docs"

clean:  ## forget what was built and installed
	rm -rf $(VENV) .venvs .coverage build dist docs/_build *.egg-info
