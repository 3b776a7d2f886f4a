.DEFAULT_GOAL := help
.PHONY: help install up demo test test-all check bench chaos fuzz audit browser contact-sheet openapi settings drawing lock revision

# The first Python that is new enough; to use another: make PYTHON=/path/to/python up
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>&- && echo $$python && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --no-strip-extras pyproject.toml

NO_PYTHON = imgsvc needs Python 3.11 or newer; none was found$(if $(PYTHON), at $(PYTHON)). \
	Install one, or give its path: make PYTHON=/path/to/python
NO_VENV := Python cannot create a virtual environment here. On Debian and Ubuntu: apt install python3-venv. \
	Elsewhere: is the disk full?
NO_PACKAGES := The packages could not be installed; see the lines above (no network? a full disk?). \
	Run the same command again when the cause is fixed.

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{sub(/:.*/, "", $$1); printf "  make %-13s %s\n", $$1, $$2}'

install: .venv/.runtime ## install the runtime packages into .venv

up: .venv/.runtime ## run everything on this machine: http://127.0.0.1:8000/docs
	@exec $(BIN)/imgsvc up

demo: .venv/.runtime ## demonstrate the service with a sample catalogue; needs no internet
	@exec $(BIN)/imgsvc demo

test: .venv/.dev ## run the quick tests: a few minutes
	$(BIN)/pytest -m "not slow"

test-all: test ## run the quick tests, then the slow ones: chaos, fuzz, killed processes, bad servers, audits
	$(BIN)/pytest -m slow

check: .venv/.dev ## check format, lint, types and import rules, and run the quick tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -m "not slow"

bench: .venv/.dev ## compare the speed with Pillow's own
	$(BIN)/python benchmarks/bench.py

chaos: .venv/.dev ## inject faults and check that nothing is lost: make chaos ARGS="--seed 1 --minutes 20"
	@PYTHONPATH=tests $(BIN)/python -m chaos.run $(ARGS)

fuzz: .venv/.dev ## fuzz CSVs, addresses, images and workbooks: make fuzz ARGS="--seconds 60 --seed 1 images"
	@$(BIN)/python benchmarks/fuzz.py $(ARGS)

audit: build/audit/bin/pip-audit ## list known vulnerabilities of the packages (needs the internet)
	@build/audit/bin/pip-audit --require-hashes --disable-pip -r requirements.lock

contact-sheet: .venv/.dev ## show images before and after on one page: make contact-sheet ARGS="--images DIR"
	@PYTHONPATH=tests $(BIN)/python -m support.contact_sheet $(ARGS)

browser: .venv/.browser ## test the docs page in chromium (apt install chromium); screenshots in build/browser
	$(BIN)/pytest -n 0 tests/browser/newcomer.py

openapi: .venv/.dev ## regenerate docs/openapi.json and docs/api.md; a breaking change needs ARGS=--break
	@PYTHONPATH=tests $(BIN)/python -m support.openapi_files $(ARGS)

settings: .venv/.dev ## regenerate docs/settings.md from the descriptions in the code
	@PYTHONPATH=tests $(BIN)/python -m support.settings_page

drawing: .venv/.dev ## regenerate docs/images/packages.svg and the table in docs/architecture.md
	@PYTHONPATH=tests $(BIN)/python -m support.package_drawing

lock: ## regenerate the lock files from pyproject.toml (needs uv)
	$(COMPILE) --extra server --extra embedded --extra build --extra dev -o requirements-dev.lock
	$(filter-out pyproject.toml,$(COMPILE)) --group browser -c requirements-dev.lock -o requirements-browser.lock
	$(COMPILE) --extra server --extra embedded --extra build -c requirements-dev.lock -o requirements.lock

revision: .venv/.dev ## create a migration from the tables: make revision M="what changes"
	IMGSVC_DATA_DIR=build/revision $(BIN)/imgsvc db upgrade
	IMGSVC_DATA_DIR=build/revision $(BIN)/alembic revision --autogenerate -m "$(M)"

build/audit/bin/pip-audit:
	@$(or $(PYTHON),false) -m venv build/audit
	@build/audit/bin/python -m pip --quiet --disable-pip-version-check install pip-audit

.venv/.runtime: requirements.lock pyproject.toml
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(NO_PYTHON)" >&2; exit 1; }
	@echo "Installing into .venv; the first time this takes a minute."
	@$(BIN)/python -c 'import pip' 2>&- || $(PYTHON) -m venv --clear .venv || { echo "$(NO_VENV)" >&2; exit 1; }
	@$(PIP) --require-hashes -r requirements.lock || { echo "$(NO_PACKAGES)" >&2; exit 1; }
	@$(PIP) --no-build-isolation --no-deps -e . || { echo "$(NO_PACKAGES)" >&2; exit 1; }
	@touch $@

.venv/.dev: .venv/.runtime requirements-dev.lock
	@echo "Installing the test packages; the first time this takes a minute."
	@$(PIP) --require-hashes -r requirements-dev.lock || { echo "$(NO_PACKAGES)" >&2; exit 1; }
	@touch $@

.venv/.browser: .venv/.dev requirements-browser.lock
	@$(PIP) --require-hashes -r requirements-browser.lock || { echo "$(NO_PACKAGES)" >&2; exit 1; }
	@touch $@
