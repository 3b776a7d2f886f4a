.DEFAULT_GOAL := help
.PHONY: help install up test check bench lock revision

PYTHON ?= python3
BIN := .venv/bin
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links pyproject.toml

help: ## what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{sub(/:.*/, "", $$1); printf "  make %-9s %s\n", $$1, $$2}'

install: .venv/.runtime ## what running needs, in .venv

up: .venv/.runtime ## everything on this machine: http://127.0.0.1:8000/docs
	@exec $(BIN)/imgsvc up

test: .venv/.dev ## every test
	$(BIN)/pytest

check: .venv/.dev ## format, lint, types, import arrows, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

bench: .venv/.dev ## how close to Pillow's own speed
	$(BIN)/python benchmarks/pipeline.py

lock: ## the two lock files anew, from pyproject.toml (needs uv)
	$(COMPILE) --all-extras -o requirements-dev.lock
	$(COMPILE) --extra embedded --extra build -c requirements-dev.lock -o requirements.lock

revision: .venv/.dev ## a migration from the tables: make revision M="what changes"
	IMGSVC_DATA_DIR=build/revision $(BIN)/imgsvc db upgrade
	IMGSVC_DATA_DIR=build/revision $(BIN)/alembic revision --autogenerate -m "$(M)"

.venv/.runtime: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "imgsvc needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

.venv/.dev: .venv/.runtime requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@
