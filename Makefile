# Every target sets up what it needs and is idempotent. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup check test demo

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 12

setup: $(STAMP)  ## virtual environment with the pinned dependencies

$(STAMP): pyproject.toml constraints.txt
	PYTHON=$(PYTHON) tools/prepare python
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

check: setup  ## format, lint, types, contracts and unit tests, below 90 s
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2 -m "not slow and not postgres and not cluster"

test: setup  ## everything but kind: check, 2,000 simulated schedules, real PostgreSQL, whole local clusters
	tools/prepare postgres
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory sim SEEDS=2000
	$(BIN)/pytest -n 2 --dist loadgroup --durations 15

demo: setup  ## a cluster on this machine without Kubernetes: load, a killed writer, the failover (KEEP=1 keeps it)
	tools/prepare postgres
	$(BIN)/python -m borealis_local.demo $(if $(KEEP),--keep)
