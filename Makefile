# Everything here needs Python 3.11+ and make, nothing else. `make` alone lists the habits.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup run test chaos check fix bench contracts up down lock clean

# The first of these that is new enough; `make PYTHON=/path/to/python setup` chooses another.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
# Two processes take file after file, each with servers of its own: first the tests that need none, then the others, slow ones first.
PURE := tests/unit tests/contract tests/spec
AT_ONCE := -n 2 --dist loadfile
SERVED := $(AT_ONCE) --no-loadscope-reorder $(PURE:%=--ignore=%)

help: ## list the habits
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.project ## install everything, hash by hash, into .venv
	@:

run: setup .venv/.warm ## Kafka, Postgres, a model and every service: watch real requests go by
	@$(BIN)/hansard demo

test: setup .venv/.warm ## every test, on real servers that it starts: a Kafka and a Postgres for each of two processes, a model
	@$(BIN)/pytest $(AT_ONCE) $(PURE); pure=$$?; $(BIN)/pytest $(SERVED) && exit $$pure

chaos: setup .venv/.warm ## the tests that kill, stop and mislead, with large counts and every case (an hour or so)
	@HANSARD_CHAOS=large $(BIN)/pytest -rA tests/chaos

check: setup ## style, types, import law and the tests that need no server
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/pytest -q $(AT_ONCE) $(PURE)

fix: setup ## let ruff put right what it can
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

bench: setup .venv/.warm ## measure, write tests/benchmarks/RESULTS.md; BASE=commit or PEERS=1: beside those; PARTS=, ROUNDS=, AT_ONCE= choose
	@$(BIN)/python -m tests.benchmarks --write

contracts: setup ## write schemas, AsyncAPI and state diagrams anew from the code
	@$(BIN)/python -m contracts.tools.generate
	@$(BIN)/python -m infra.diagrams

up: setup .venv/.warm ## start the servers and leave them running
	@$(BIN)/hansard up --detach

down: ## stop the servers that `make up` left running
	@if [ -x $(BIN)/hansard ]; then $(BIN)/hansard down; fi

LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet

lock: ## choose the newest versions allowed and write requirements.lock, its part for the image, the peers' (needs uv)
	@command -v uv >/dev/null || { echo 'make lock needs uv: pip install uv' >&2; exit 1; }
	@$(LOCK) --all-extras --upgrade -o requirements.lock
	@$(LOCK) --extra s3 --constraints requirements.lock -o infra/services.lock
	@for peer in dbos restate; do $(subst pyproject.toml,tests/benchmarks/peers/$$peer.in,$(LOCK)) --constraints requirements.lock --upgrade -o tests/benchmarks/peers/$$peer.lock; done

clean: ## stop the servers, forget their data and the environment
	@if [ -e .venv/.project ]; then HANSARD_HOME= $(BIN)/python -m infra.servers erase; fi
	rm -rf .venv .hansard *.egg-info build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.locked: requirements.lock
	@[ -n "$(PYTHON)" ] || { echo 'Hansard needs Python 3.11 or newer, and none was found. On Debian or Ubuntu: apt install python3 python3-venv. Elsewhere: make PYTHON=/path/to/python3.12 setup' >&2; exit 1; }
	@$(PYTHON) -c '$(NEW_ENOUGH)' || { echo 'Hansard needs Python 3.11 or newer; $(PYTHON) is' "$$($(PYTHON) -V 2>&1)." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo 'This Python has no venv. On Debian or Ubuntu: apt install python3-venv' >&2; exit 1; }
	@$(BIN)/python -c '$(NEW_ENOUGH); import pip' 2>/dev/null || { rm -rf .venv && $(PYTHON) -m venv .venv; }
	@echo 'Installing what requirements.lock names into .venv (300 MB to fetch; a minute or two the first time)'
	@$(PIP) install --quiet --require-hashes --no-deps -r requirements.lock || { echo 'The packages did not install. If the network failed, run make again: what is there is kept.' >&2; exit 1; }
	@touch $@

.venv/.project: .venv/.locked pyproject.toml
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Java learns once how Kafka starts, and forgets it with the environment. Without it Kafka only starts slower.
.venv/.warm: .venv/.locked infra/servers/kafka.sha256 | .venv/.project
	@if $(BIN)/python -m infra.servers warm; then touch $@; else echo 'Going on without it.' >&2; fi
