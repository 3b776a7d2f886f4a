.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links pyproject.toml

help: ## what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

lock: ## the two lock files anew, from pyproject.toml (needs uv)
	$(COMPILE) --all-extras -o requirements-dev.lock
	$(COMPILE) --extra embedded --extra build -c requirements-dev.lock -o requirements.lock

.PHONY: help lock
