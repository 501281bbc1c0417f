# What a developer types. `make` alone lists the targets.
# Another Python: make test PYTHON=python3.12

PYTHON ?= python3
VENV ?= .venv
# Test processes beside the one that has the engine: most tests wait more than they work.
JOBS ?= 2
BIN := $(VENV)/bin

# The installation compiles the native scan core, where a C compiler is.
CORE := hatch_build.py $(wildcard app/scan/native/*.[ch])

.DEFAULT_GOAL := help
.PHONY: help run demo test lint types contracts unit engine others sanitize mutants soak bench screenshots clean
.DELETE_ON_ERROR:

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: $(VENV)/.installed ## explore this host's Docker; where none can be read, the demo
	@for root in $$(timeout 3 docker info --format '{{.DockerRootDir}}' 2>/dev/null) \
	    "$$HOME/.local/share/docker" /var/lib/docker; do \
	  if [ -n "$$(ls -A "$$root" 2>/dev/null)" ]; then exec $(BIN)/whodiff; fi; \
	done; \
	echo "No Docker data that you may read is here, so this is the demo."; \
	echo "For this host's own Docker: sudo $(BIN)/whodiff"; \
	exec $(BIN)/whodiff --demo

demo: $(VENV)/.installed ## explore a made-up Docker host
	@$(BIN)/whodiff --demo

test: lint types contracts unit ## every check there is

lint: $(VENV)/.developer ## style
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.developer ## static types
	$(BIN)/mypy

contracts: $(VENV)/.developer ## who may import whom
	$(BIN)/lint-imports

unit: $(VENV)/.developer ## the tests (those of the engine need root, dockerd and busybox)
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target engine others

# A process of its own, which takes the engine away again however it is ended.
engine: $(VENV)/.developer
	$(BIN)/python -m pytest tests/engine

others: $(VENV)/.developer
	$(BIN)/python -m pytest --numprocesses=$(JOBS) tests/unit tests/tui

sanitize: ## look for memory errors, leaks and races in the native scan core
	tests/native/sanitize.sh

mutants: $(VENV)/.developer ## break the guards of a removal one by one: a test must notice each
	$(BIN)/python -m tests.mutants

soak: mutants sanitize ## what takes too long for `make test`

bench: $(VENV)/.developer ## measure start, keys and scan; the scan cores against du, ncdu, gdu, diskuse
	$(BIN)/python -m tests.bench
	$(BIN)/python -m tests.bench.cores

screenshots: $(VENV)/.developer ## draw the pictures in screenshots/ anew
	$(BIN)/python -m screenshots.make

clean: ## remove the environment and everything that tools left
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis \
	  .import_linter_cache snapshot_report.html
	rm -f app/scan/native/*.so
	find . -path ./.git -prune -o -name __pycache__ -type d -exec rm -rf {} +

# The stamps: set-up runs once, and again when the dependencies or the core change.
$(VENV)/.installed: pyproject.toml $(CORE) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.developer: pyproject.toml $(CORE) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.installed

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "There is no $(PYTHON) here. Install Python 3.10 or newer, or name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "whodiff needs Python 3.10 or newer, and $(PYTHON) is older. Name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
