# Every target sets up what it needs and is idempotent. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup check units static test installcheck sim mutants demo bench images image-names manifest e2e clean

help:  ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 12

setup: $(STAMP)  ## virtual environment with the pinned dependencies

$(STAMP): pyproject.toml constraints.txt tools/native_build.py $(wildcard engine/borealis_engine/native/*.[ch])
	PYTHON=$(PYTHON) tools/prepare python
	tools/prepare compiler
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

check: setup  ## format, lint, types, contracts and unit tests, below 90 s
	$(MAKE) --no-print-directory --jobs 2 static units

units: setup
	$(BIN)/pytest -n 2 -m "not slow and not postgres and not cluster"

static: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Whole clusters wait more than they work: three tests at once keep two processors busy.
test: setup  ## everything but kind: check, 10,000 simulated schedules, real PostgreSQL, whole local clusters
	tools/prepare postgres
	$(MAKE) --no-print-directory --jobs 2 static sim SEEDS=10000
	$(BIN)/pytest -n 3 --dist loadfile --durations 15

# From Debian's source package, which is fetched when it runs and not kept; where it cannot be had, this says why.
installcheck: setup  ## PostgreSQL's own regression and isolation suites against a local cluster's writer endpoint
	tools/prepare postgres
	$(BIN)/python -m installcheck

SEEDS ?= 2000
sim: setup  ## simulated schedules of the log protocol and their oracle (SEEDS=2000; SEED=n shows one; WITHOUT=3-5,9 UNTIL=2)
	$(BIN)/python -m borealis_engine.core.testing.sim $(if $(SEED),--seed $(SEED) \
		$(if $(WITHOUT),--without $(WITHOUT)) $(if $(UNTIL),--until $(UNTIL)),--seeds $(SEEDS))

mutants: setup  ## one known bug at a time in the core, and which schedules and scripts catch it (SEEDS=300)
	$(BIN)/python -m borealis_engine.core.testing.mutation --seeds $(if $(filter command line,$(origin SEEDS)),$(SEEDS),300)

demo: setup  ## a cluster on this machine without Kubernetes: load, a killed writer, the failover (KEEP=1 keeps it)
	tools/prepare postgres
	$(BIN)/python -m borealis_local.demo $(if $(KEEP),--keep)

bench: setup  ## against stock PostgreSQL, slow members, repair, failover; docs/performance.md (30 minutes; QUICK=1: below 3)
	tools/prepare postgres
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick --output benchmarks/results/quick.json) $(if $(DIR),--directory $(DIR))

# --- images, manifest, Kubernetes -----------------------------------------------------------------------------------
BASE ?= debian:trixie-slim
PG_MAJOR ?= 17
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
OPERATOR_IMAGE ?= borealis/operator:$(VERSION)
ENGINE_IMAGE ?= borealis/engine:$(PG_MAJOR)-$(VERSION)
CLIENT_IMAGE ?= borealis/client:$(VERSION)
# An index of one's own for pip inside the builds, if the environment names one.
BUILD := docker build --quiet --build-arg BASE=$(BASE) \
	$(if $(PIP_INDEX_URL),--build-arg PIP_INDEX_URL) $(if $(PIP_EXTRA_INDEX_URL),--build-arg PIP_EXTRA_INDEX_URL)

images:  ## operator, engine and client images (BASE=..., PG_MAJOR=..., OPERATOR_IMAGE=...)
	$(BUILD) --file images/operator.Dockerfile --tag $(OPERATOR_IMAGE) .
	$(BUILD) --file images/engine.Dockerfile --build-arg PG_MAJOR=$(PG_MAJOR) --tag $(ENGINE_IMAGE) .
	$(BUILD) --file images/client.Dockerfile --build-arg ENGINE=$(ENGINE_IMAGE) --tag $(CLIENT_IMAGE) .

image-names:
	@echo $(OPERATOR_IMAGE) $(ENGINE_IMAGE) $(CLIENT_IMAGE)

manifest:  ## deploy/borealis.yaml, rendered from the chart
	deploy/render > deploy/borealis.yaml.new && mv deploy/borealis.yaml.new deploy/borealis.yaml

e2e: setup  ## every scenario on a kind cluster of its own (KEEP=1 keeps it, DEPTH=full repeats the failovers)
	@for tool in docker kind kubectl helm; do command -v $$tool >/dev/null || \
		{ echo "make e2e needs $$tool: install it and say make e2e again" >&2; exit 1; }; done
	rm -rf e2e/out
	$(BIN)/python -m pytest e2e --verbose -s --durations 0

clean:  ## remove what the other targets made: environment, caches, reports, the kind cluster of e2e
	-@if command -v kind >/dev/null; then kind delete cluster --name borealis-e2e 2>/dev/null; fi
	rm -rf $(VENV) build dist e2e/out .stamps .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
